"""Sizes of a transformer that follow from its spec, the same way for every family: parameters, FLOPs."""

from collections.abc import Collection, Iterable

from lateen_api.plan.architecture import Parameter, architecture
from lateen_api.plan.lora import adapter_parameters
from lateen_api.spec import LoraSpec
from lateen_api.spec.model import ModelSpec


def axis_sizes(model: ModelSpec, vocab_size: int) -> dict[str, int]:
    """Length of each named axis of the parameters, by the names that sharding rules use."""
    return architecture(model, vocab_size).sizes


def block_parameters(model: ModelSpec) -> int:
    """Trained numbers of one block."""
    return sum(p.size for p in architecture(model, 1).parameters if p.is_stacked) // model.num_layers


def parameter_count(model: ModelSpec, vocab_size: int) -> int:
    """Trained numbers of the model. GPT-2 small: 124,439,808. Llama 2 7B: 6,738,415,616."""
    return sum(p.size for p in architecture(model, vocab_size).parameters)


def parameters_of_a_part(parameters: Iterable[Parameter], axes: Collection[str], parts: int) -> int:
    """Numbers of a device where those that have one of the axes are divided into so many parts, and the others are
    not. All of them for one part."""
    return sum(p.size // (parts if p.axes.keys() & set(axes) else 1) for p in parameters)


def parameters_outside_blocks(model: ModelSpec, vocab_size: int) -> int:
    """Numbers of the token embedding, the output layer where it is another one, and whatever else is no block's."""
    return sum(p.size for p in architecture(model, vocab_size).parameters if not p.is_stacked)


def training_flops_per_token(model: ModelSpec, vocab_size: int, lora: LoraSpec | None = None) -> int:
    """FLOPs of training on one token of a full sequence: three times those of the forward pass (the backward pass
    has two products for each of the forward's). Recomputed activations are not counted, as is usual for MFU.

    The forward pass costs, with width D, vocabulary V, H heads of size d, a token and block (and whatever a model
    has besides blocks)

        2 · matrix numbers    projections into and out of attention, and the MLP
        2·K·H·d + 2·K·H·d     scores and weighted values, over K positions
        3·K·H                 mask and softmax of the scores

    and 2·D·V for the logits. K is the sequence's length, masked positions too, or the layer's window where that is
    shorter. GPT-2 small (V = 50,257, length 1,024): 855,765,504 a token, 876,303,876,096 a sequence.

    With LoRA the backward pass makes no gradient of the frozen matrices: they cost twice their forward pass. Attention
    has no parameters, and costs three times its own, as the adapters do.
    """
    shape = architecture(model, vocab_size)
    projections = 2 * sum(p.size for p in shape.parameters if p.is_matrix and not p.is_table)
    keys = sum(min(window or model.seq_len, model.seq_len) for window in model.windows)
    attention = (4 * model.head_size + 3) * model.num_heads * keys
    attention += shape.flops_per_pair_behind_blocks * model.seq_len
    logits = 2 * model.hidden_dim * vocab_size
    if lora is None:
        return 3 * (projections + attention + logits)
    adapters = 2 * sum(p.size for p in adapter_parameters(lora, model))
    return 2 * (projections + logits) + 3 * (attention + adapters)
