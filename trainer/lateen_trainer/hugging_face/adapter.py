"""LoRA's adapters as a folder that `peft` loads: adapter_config.json and adapter_model.safetensors.

PEFT calls the matrices of a layer `lora_A`, [rank, inputs], and `lora_B`, [outputs, rank], whatever the layer's class;
`fan_in_fan_out` says that the layer's own weights are [inputs, outputs], as those of GPT-2 are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lateen_api.plan.lora import RANK, linear_layers, targeted_layers
from lateen_api.spec import LoraSpec
from lateen_api.spec.model import ModelSpec

from lateen_trainer.checkpoint.state import named_leaves
from lateen_trainer.hugging_face.destination import ADAPTER_CONFIG, Destination
from lateen_trainer.hugging_face.export import CARD, DTYPES, Together, write_folder
from lateen_trainer.hugging_face.tokenizer_files import tokenizer_files
from lateen_trainer.hugging_face.write import OutputFile, output_tensors
from lateen_trainer.models.families import tensor_map
from lateen_trainer.models.lora import LoraModel
from lateen_trainer.models.tensor_map import ArrayTensors, TensorMap

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_HUB = "hf://"


@dataclass(frozen=True)
class ExportedAdapter:
    """What is exported, besides the matrices."""

    lora: LoraSpec
    model: ModelSpec
    """Of the model that they are for."""

    base: str | None
    """`spec.trainer.initializeFrom`."""

    tokenizer: str
    """`spec.data.tokenizer`."""

    card: str
    """Content of README.md."""

    dtype: str | None = None
    """Type of the tensors as a job names it; None: that of the parameters."""


@dataclass(frozen=True)
class _Module:
    """A linear layer in transformers."""

    name: str
    """With the number of the block in braces: `transformer.h.{layers}.attn.c_attn`."""

    inputs: tuple[str, ...]
    """Axes of ours that its inputs consist of, in transformers' order."""

    outputs: tuple[str, ...]
    fan_in_fan_out: bool

    @property
    def in_block(self) -> str:
        """Its path in a block."""
        return self.name.partition("}.")[2]


def export_adapter(
    model: LoraModel, about: ExportedAdapter, destination: Destination, *, together: Together | None = None
) -> None:
    """Writes the folder. All processes call it; process 0 writes, and adapter_config.json last.

    Args:
        model: its arrays lie over the devices of all processes.
        about: the rest of it.
        destination: the folder.
        together: None: this process is alone.

    Raises:
        UserError, TrainerError, OSError: it cannot be written, or the family has no form of Hugging Face's.
        LostPeerError: another process cannot write its part.
    """
    leaves = named_leaves(model.adapters)
    dtype = DTYPES[about.dtype or leaves[0].dtype]
    tensors = output_tensors(_tensor_map(about.model), leaves, lambda tensor: dtype)

    def write_texts() -> None:
        for name, content in tokenizer_files(about.tokenizer, about.model.seq_len).items():
            destination.put(name, content)
        destination.put(CARD, about.card.encode())
        destination.put_json(ADAPTER_CONFIG, adapter_config(about))

    write_folder([OutputFile(WEIGHTS, tensors)], write_texts, destination, together or Together())


def adapter_config(about: ExportedAdapter) -> dict[str, Any]:
    """Content of adapter_config.json."""
    lora, modules = about.lora, _modules(about.model)
    name, _, revision = (about.base or "").removeprefix(_HUB).partition("@")
    is_of_hub = (about.base or "").startswith(_HUB)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": name if is_of_hub else about.base,
        "revision": (revision or None) if is_of_hub else None,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": _target_modules(lora, about.model),
        "fan_in_fan_out": any(module.fan_in_fan_out for module in modules.values()),
        "bias": "none",
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
    }


def _target_modules(lora: LoraSpec, model: ModelSpec) -> list[str]:
    """The layers by their names, or by their paths where others have the same name and no adapter."""
    modules = _modules(model)
    targeted = {modules[layer.name].in_block for layer in targeted_layers(lora, model)}
    others = {module.in_block for module in modules.values()} - targeted
    taken = {_last(path) for path in others}
    return sorted({path if _last(path) in taken else _last(path) for path in targeted})


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _modules(model: ModelSpec) -> Mapping[str, _Module]:
    """The linear layers of the blocks, by their paths in a block of ours."""
    lines = tensor_map(model.type).lines
    modules = {}
    for layer in linear_layers(model):
        line = next(lines[array] for array in lines if array.endswith(f"blocks.{layer.name}.weight"))
        weight = ArrayTensors.parse(line)
        first, second = weight.dimensions
        fan_in_fan_out = bool(layer.inputs.keys() & set(first))
        inputs, outputs = (first, second) if fan_in_fan_out else (second, first)
        modules[layer.name] = _Module(weight.name.removesuffix(".weight"), inputs, outputs, fan_in_fan_out)
    return modules


def _tensor_map(model: ModelSpec) -> TensorMap:
    """How the matrices lie in the tensors of PEFT."""
    lines = {}
    for name, module in _modules(model).items():
        prefix = f"{_PREFIX}{module.name}"
        lines[f"{name}.lora_a"] = f"{prefix}.lora_A.weight [{RANK} ({' '.join(module.inputs)})]"
        lines[f"{name}.lora_b"] = f"{prefix}.lora_B.weight [({' '.join(module.outputs)}) {RANK}]"
    return TensorMap(base=_PREFIX, lines=lines)
