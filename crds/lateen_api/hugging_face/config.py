"""`config.json` ↔ `spec.model`."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lateen_api.hugging_face.families import ACTIVATIONS, FAMILIES, ConfigKeys, free_fields
from lateen_api.hugging_face.rope import KEYS as ROPE_KEYS
from lateen_api.hugging_face.rope import SCALED_BY_CONTEXT, read_rope, write_rope
from lateen_api.spec.model import LlamaLikeSpec, ModelSpec

_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)
_WITH_SWITCHED_WINDOW = ("qwen2", "qwen3")


def read_model(config: Mapping[str, Any]) -> ModelSpec:
    """The model that a configuration describes.

    Raises:
        ValueError: it is of a family or has an option that lateen does not have; the message names the key.
    """
    kind = config.get("model_type")
    if kind not in FAMILIES:
        raise ValueError(f"model_type is {kind!r}: expected one of {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    for key, wanted in family.fixed.items():
        if config.get(key, wanted) != wanted:
            raise ValueError(f"{key} is {config[key]!r}: lateen's {kind} has {wanted!r} only")
    if config.get("quantization_config"):
        raise ValueError("quantization_config is set: expected weights that are not quantised")
    fields = {name: config.get(key, default) for key, (name, default) in family.keys.items()}
    fields["activation_function"] = _activation(family, fields["activation_function"])
    if kind == "gpt2":
        fields["mlp_scale"] = _mlp_scale(config.get("n_inner"), fields["hidden_dim"])
    else:
        fields["rope"] = read_rope(config, fields["seq_len"])
    if kind in _WITH_SWITCHED_WINDOW:
        # Off by default, whatever sliding_window says.
        fields["sliding_window"] = config.get("sliding_window", 4096) if config.get("use_sliding_window") else None
    try:
        return _MODEL.validate_python({"type": kind, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        key = next((key for key, (field, _) in family.keys.items() if name in (field, _camel(field))), name)
        raise ValueError(f"{key} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}") from error


def write_config(model: ModelSpec, vocab_size: int, imported: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of a model.

    Args:
        model: the model.
        vocab_size: entries of its vocabulary.
        imported: configuration of the folder that the model began with. Its keys are kept, known or not, but for
            those whose values became others.
    """
    family = FAMILIES[model.type]
    values: dict[str, Any] = {key: getattr(model, name) for key, (name, _) in family.keys.items()}
    values |= {**family.fixed, "vocab_size": vocab_size}
    if model.type == "gpt2":
        values["n_inner"] = None if model.mlp_scale == 4 else model.mlp_scale * model.hidden_dim
    if isinstance(model, LlamaLikeSpec):
        values |= {"num_key_value_heads": model.kv_heads, "head_dim": model.head_size, **write_rope(model.rope)}
    if model.type in _WITH_SWITCHED_WINDOW:
        window = getattr(model, "sliding_window", None)
        values |= {"use_sliding_window": window is not None, "sliding_window": window}
    whole = {"architectures": [family.architecture], "model_type": model.type, **values}
    if imported is None:
        return {key: value for key, value in whole.items() if key != "layer_types" or value is not None}
    return _with_changes(dict(imported), model, vocab_size, whole)


def _with_changes(
    imported: dict[str, Any], model: ModelSpec, vocab_size: int, whole: Mapping[str, Any]
) -> dict[str, Any]:
    """The imported configuration, with the keys whose values became others."""
    family = FAMILIES[model.type]
    before = read_model(imported)
    now = model.model_copy(update={"vocab_size": vocab_size})
    changed = [key for key, (name, _) in family.keys.items() if _value(before, name) != _value(now, name)]
    # A training run on shorter sequences takes no context away from a model whose positions have no weights.
    if model.type != "gpt2" and now.seq_len <= before.seq_len:
        changed = [key for key in changed if key != family.positions]
    result = {**imported, **{key: whole[key] for key in changed}}
    if isinstance(model, LlamaLikeSpec) and isinstance(before, LlamaLikeSpec):
        if _value(before, "rope") == _value(model, "rope") and "rope_parameters" in imported:
            # transformers 4 does not know rope_parameters, and would turn by theta 10,000.
            result |= {key: whole[key] for key in ("rope_theta", "rope_scaling") if key not in imported}
        elif _value(before, "rope") != _value(model, "rope"):
            result = {key: value for key, value in result.items() if key not in ROPE_KEYS} | write_rope(model.rope)
    return result


def differences(given: ModelSpec, read: ModelSpec) -> list[tuple[str, Any, Any]]:
    """(field, value in `given`, value in `read`) of each field in which two specs are different models.

    Fields that are about training alone do not count, nor do other spellings of one model.
    """
    if given.type != read.type:
        return [("type", given.type, read.type)]
    names = [name for name in type(given).model_fields if name not in free_fields(given)]
    found = []
    for name in names:
        before, after = _value(given, name), _value(read, name)
        if name == "vocab_size" and before is None:
            continue
        if before != after:
            found.append((_camel(name), before, after))
    return found


def _value(model: ModelSpec, name: str) -> Any:
    """A field's value in the one spelling that equal models have in common."""
    if isinstance(model, LlamaLikeSpec):
        match name:
            case "num_kv_heads":
                return model.kv_heads
            case "head_dim":
                return model.head_size
            case "rope":
                context = {"original_max_position_embeddings": model.seq_len}
                implied = context if model.rope.type in SCALED_BY_CONTEXT else {}
                return implied | model.rope.model_dump(exclude_none=True)
            case "sliding_window" | "max_window_layers" | "layer_types":
                return list(model.windows)
    return getattr(model, name)


def _activation(family: ConfigKeys, name: Any) -> str:
    if not isinstance(name, str) or name not in ACTIVATIONS:
        key = next(key for key, (field, _) in family.keys.items() if field == "activation_function")
        raise ValueError(f"{key} is {name!r}: expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _mlp_scale(inner: Any, hidden: int) -> int:
    if inner is None:
        return 4
    if not isinstance(inner, int) or inner % hidden:
        raise ValueError(f"n_inner is {inner!r}: expected a multiple of n_embd, {hidden}")
    return inner // hidden


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
