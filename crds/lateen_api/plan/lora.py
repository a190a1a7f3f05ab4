"""LoRA: which layers of a model `spec.trainer.lora` names, and the parameters that it adds to them.

A linear layer x·W + b becomes x·W + b + alpha / rank · (x·A)·B, of which A and B alone are trained: Hu et al.,
https://arxiv.org/abs/2106.09685. Layers are those of the blocks: embeddings and the output layer are none, as in PEFT.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lateen_api.errors import JobError
from lateen_api.plan.architecture import LAYERS, Parameter, architecture
from lateen_api.plan.model_checks import check_shapes
from lateen_api.plan.parameter_rules import dimensions
from lateen_api.spec import JobSpec, LoraSpec
from lateen_api.spec.model import ModelSpec
from lateen_api.wording import closest, listing, show

ALL_LINEAR = "all-linear"
"""The target that stands for all linear layers of the blocks."""

RANK = "lora_rank"
"""Axis between A and B."""

DEFAULT_TARGETS: dict[str, tuple[str, ...]] = {
    "gpt2": ("c_attn",),
    "llama": ("q_proj", "v_proj"),
    "mistral": ("q_proj", "v_proj"),
    "qwen2": ("q_proj", "v_proj"),
    "qwen3": ("q_proj", "v_proj"),
    "mpt": ("wqkv",),
    "backpack": ("c_attn",),
}
"""By `spec.model.type`: PEFT's own, where it has some."""

_ADAPTERS = "adapters"
_BLOCKS = "blocks.blocks."


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer of all blocks."""

    name: str
    """Its path in a block: `attn.c_attn`."""

    layers: int
    """Blocks."""

    inputs: dict[str, int]
    """Axes of a vector that it is given, and their sizes."""

    outputs: dict[str, int]
    """Axes of what it makes of one."""

    def is_named(self, target: str) -> bool:
        """Does a target mean this layer: by its name, or by the end of its path? Case does not count."""
        return f".{self.name}".lower().endswith(f".{target}".lower())

    def adapter(self, rank: int) -> tuple[Parameter, Parameter]:
        """A and B, as the trainer has them."""
        prefix, stack = f"{_ADAPTERS}.{self.name}", {LAYERS: self.layers}
        return (
            Parameter(f"{prefix}.lora_a", {**stack, **self.inputs, RANK: rank}),
            Parameter(f"{prefix}.lora_b", {**stack, RANK: rank, **self.outputs}),
        )


def linear_layers(model: ModelSpec) -> list[LinearLayer]:
    """The linear layers of the blocks."""
    layers = []
    for parameter in architecture(model, 1).parameters:
        if not (parameter.is_stacked and parameter.is_matrix):
            continue
        first = dimensions(tuple(parameter.axes))[0]
        layers.append(
            LinearLayer(
                parameter.name.rpartition(_BLOCKS)[2].removesuffix(".weight"),
                parameter.axes[LAYERS],
                {axis: size for axis, size in parameter.axes.items() if axis in first},
                {axis: size for axis, size in parameter.axes.items() if axis not in (LAYERS, *first)},
            )
        )
    return layers


def targets_of(lora: LoraSpec, model: ModelSpec) -> Sequence[str]:
    """The targets of a spec, or those of the family where it has none."""
    return DEFAULT_TARGETS[model.type] if lora.targets is None else lora.targets


def targeted_layers(lora: LoraSpec, model: ModelSpec) -> list[LinearLayer]:
    """The layers that get an adapter."""
    targets = targets_of(lora, model)
    return [layer for layer in linear_layers(model) if ALL_LINEAR in targets or any(map(layer.is_named, targets))]


def adapter_parameters(lora: LoraSpec, model: ModelSpec) -> list[Parameter]:
    """A and B of each layer that gets an adapter."""
    return [parameter for layer in targeted_layers(lora, model) for parameter in layer.adapter(lora.rank)]


def all_parameters(model: ModelSpec, vocab_size: int, lora: LoraSpec | None) -> list[Parameter]:
    """The parameters of a model, those of its adapters among them."""
    return [
        *architecture(model, vocab_size).parameters,
        *([] if lora is None else adapter_parameters(lora, model)),
    ]


def trained_parameters(model: ModelSpec, vocab_size: int, lora: LoraSpec | None) -> list[Parameter]:
    """Those of them that are trained: with LoRA the adapters alone."""
    return all_parameters(model, vocab_size, None) if lora is None else adapter_parameters(lora, model)


def adapter_activations(lora: LoraSpec, model: ModelSpec) -> int:
    """Numbers per token that the adapters of a block keep for the backward pass: x·A, and x itself where some of it
    is dropped."""
    layers = targeted_layers(lora, model)
    dropped = sum(math.prod(layer.inputs.values()) for layer in layers) if lora.dropout > 0 else 0
    return lora.rank * len(layers) + dropped


def check_lora(spec: JobSpec) -> list[JobError]:
    """One error for each target that names no layer; one for an export of adapters that there are not."""
    lora, model = spec.trainer.lora, spec.model
    if lora is None:
        if spec.export.lora is None:
            return []
        message = f"is {spec.export.lora}, and there is no spec.trainer.lora. Add that, or remove this."
        return [JobError("spec.export.lora", message)]
    if check_shapes(model):
        return []
    layers = linear_layers(model)
    names = sorted({layer.name.rpartition(".")[2] for layer in layers})
    errors = []
    for number, target in enumerate(lora.targets or []):
        if target == ALL_LINEAR or any(layer.is_named(target) for layer in layers):
            continue
        meant = closest(target, [*names, ALL_LINEAR])
        hint = f" Did you mean {meant}?" if meant else ""
        errors.append(
            JobError(
                f"spec.trainer.lora.targets[{number}]",
                f"{show(target)} is no linear layer of a {model.type} block: expected {listing([*names, ALL_LINEAR])}."
                f"{hint or ' Name one of them.'}",
            )
        )
    return errors
