"""`config.json` ↔ `spec.model`."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lateen_api.hugging_face.families import ACTIVATIONS, FAMILIES, ConfigKeys, free_fields, has_position_weights
from lateen_api.hugging_face.nested import get, with_values
from lateen_api.hugging_face.rope import KEYS as ROPE_KEYS
from lateen_api.hugging_face.rope import SCALED_BY_CONTEXT, read_rope, write_rope
from lateen_api.spec.model import Gpt2LikeSpec, LlamaLikeSpec, ModelSpec
from lateen_api.wording import camel_case

_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)
_LIKE_GPT2 = ("gpt2", "backpack")
_WITH_SWITCHED_WINDOW = ("qwen2", "qwen3")


def read_model(config: Mapping[str, Any]) -> ModelSpec:
    """The model that a configuration describes.

    Raises:
        ValueError: it is of a family or has an option that lateen does not have; the message names the key.
    """
    kind = _kind(config)
    if kind not in FAMILIES:
        known = dict.fromkeys(family.model_type(name) for name, family in FAMILIES.items())
        raise ValueError(f"model_type is {config.get('model_type')!r}: expected one of {', '.join(known)}")
    family = FAMILIES[kind]
    for key, wanted in family.fixed.items():
        if (value := get(config, key, wanted)) != wanted:
            raise ValueError(f"{key} is {value!r}: lateen's {kind} has {wanted!r} only")
    if config.get("quantization_config"):
        raise ValueError("quantization_config is set: expected weights that are not quantised")
    fields = {name: get(config, key, default) for key, (name, default) in family.keys.items()}
    if "activation_function" in fields:
        fields["activation_function"] = _activation(family, fields["activation_function"])
    if kind in _LIKE_GPT2:
        fields["mlp_scale"] = _mlp_scale(config.get("n_inner"), fields["hidden_dim"])
    elif kind != "mpt":
        fields["rope"] = read_rope(config, fields["seq_len"])
    if kind in _WITH_SWITCHED_WINDOW:
        # Off by default, whatever sliding_window says.
        fields["sliding_window"] = config.get("sliding_window", 4096) if config.get("use_sliding_window") else None
    try:
        model = _MODEL.validate_python({"type": kind, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        key = next((key for key, (field, _) in family.keys.items() if name in (field, camel_case(field))), name)
        raise ValueError(f"{key} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}") from error
    for name, value, wanted in unwritable_fields(model):
        key = next((key for key, (field, _) in family.keys.items() if field == name), "n_inner")
        raise ValueError(f"{key} is {value!r}: {family.architecture} computes {wanted!r} only")
    return model


def unwritable_fields(model: ModelSpec) -> list[tuple[str, Any, Any]]:
    """(field, value, the only value that there is) of each field that the family's class in Hugging Face's format has
    not."""
    required = FAMILIES[model.type].required
    return [(name, getattr(model, name), only) for name, only in required.items() if getattr(model, name) != only]


def _kind(config: Mapping[str, Any]) -> Any:
    """The family, by `spec.model.type`: that of the class where its model_type is another family's."""
    architectures = config.get("architectures") or []
    borrowers = {family.architecture: kind for kind, family in FAMILIES.items() if family.model_type(kind) != kind}
    named = [borrowers[name] for name in architectures if name in borrowers]
    if named:
        return named[0]
    kind = config.get("model_type")
    return None if kind in borrowers.values() else kind


def write_config(model: ModelSpec, vocab_size: int, imported: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of a model.

    Args:
        model: the model.
        vocab_size: entries of its vocabulary.
        imported: configuration of the folder that the model began with. Its keys are kept, known or not, but for
            those whose values became others.
    """
    family = FAMILIES[model.type]
    # A required value is equal to the field's, and of the type that transformers wants.
    values: dict[str, Any] = {
        key: family.required.get(name, getattr(model, name)) for key, (name, _) in family.keys.items()
    }
    values |= {**family.fixed, "vocab_size": vocab_size}
    if "attn_config.attn_pdrop" in values:
        # transformers 5 takes a whole number alone. Dropout is of training, and nobody computes logits with it.
        values["attn_config.attn_pdrop"] = 0
    if isinstance(model, Gpt2LikeSpec):
        values["n_inner"] = None if model.mlp_scale == 4 else model.mlp_scale * model.hidden_dim
    if isinstance(model, LlamaLikeSpec):
        values |= {"num_key_value_heads": model.kv_heads, "head_dim": model.head_size, **write_rope(model.rope)}
    if model.type in _WITH_SWITCHED_WINDOW:
        window = getattr(model, "sliding_window", None)
        values |= {"use_sliding_window": window is not None, "sliding_window": window}
    whole = {"architectures": [family.architecture], "model_type": model.type, **family.written, **values}
    if imported is None:
        return with_values(
            {}, {key: value for key, value in whole.items() if key != "layer_types" or value is not None}
        )
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
    if not has_position_weights(model) and now.seq_len <= before.seq_len:
        changed = [key for key in changed if key != family.positions]
    result = with_values(imported, {key: whole[key] for key in changed})
    if "auto_map" in family.written and not all("--" in str(place) for place in imported.get("auto_map", {}).values()):
        result["auto_map"] = family.written["auto_map"]  # it named files of the folder, which are not exported
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
            found.append((camel_case(name), before, after))
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
