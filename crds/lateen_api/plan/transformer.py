"""Sizes of a transformer that follow from its spec: axes, parameters, FLOPs."""

import math
from collections.abc import Collection

from lateen_api.spec import ModelSpec


def axis_sizes(model: ModelSpec, vocab_size: int) -> dict[str, int]:
    """Length of each named axis of the parameters, by the names that sharding rules use."""
    return {
        "embed": model.hidden_dim,
        "heads": model.num_heads,
        "head_size": model.hidden_dim // model.num_heads,
        "mlp": model.hidden_dim * model.mlp_scale,
        "vocab": vocab_size,
        "position": model.seq_len,
    }


def block_parameters(model: ModelSpec) -> int:
    """Of two norms, attention (one matrix for q, k and v, one for the output) and the MLP, all with biases."""
    width, mlp = model.hidden_dim, model.hidden_dim * model.mlp_scale
    norms = 2 * 2 * width
    attention = width * 3 * width + 3 * width + width * width + width
    return norms + attention + width * mlp + mlp + mlp * width + width


def parameter_count(model: ModelSpec, vocab_size: int) -> int:
    """Trained numbers of the model; the output layer is the token embedding. GPT-2 small: 124,439,808."""
    embeddings = (vocab_size + model.seq_len) * model.hidden_dim
    last_norm = 2 * model.hidden_dim
    return embeddings + model.num_layers * block_parameters(model) + last_norm


def parameters_of_a_part(model: ModelSpec, vocab_size: int, axes: Collection[str], parts: int) -> int:
    """Parameters of a device where those that have one of the axes are divided into so many parts, and the others are
    not. All of them for one part."""
    norm, positions = {"embed"}, {"position", "embed"}
    qkv = {"qkv", "heads", "head_size"}
    of_a_block = [
        norm, norm, norm, norm,
        {"embed", *qkv}, qkv, {"heads", "head_size", "embed"}, {"embed"},
        {"embed", "mlp"}, {"mlp"}, {"mlp", "embed"}, {"embed"},
    ]  # fmt: skip
    sizes = {**axis_sizes(model, vocab_size), "qkv": 3}

    def of(arrays: list[set[str]]) -> int:
        return sum(math.prod(sizes[axis] for axis in array) // (parts if array & set(axes) else 1) for array in arrays)

    return of([{"vocab", "embed"}, positions, norm, norm]) + model.num_layers * of(of_a_block)


def training_flops_per_token(model: ModelSpec, vocab_size: int) -> int:
    """FLOPs of training on one token of a full sequence: three times those of the forward pass (the backward pass
    has two products for each of the forward's). Recomputed activations are not counted, as is usual for MFU.

    The forward pass costs, with width D, sequence S, heads H, MLP width M and vocabulary V, a token and block

        2·D·3D + 2·D·D     projections into and out of attention
        2·S·D + 2·S·D      scores and weighted values, over all S positions, masked ones too
        3·S·H              mask and softmax of the scores
        2 · 2·D·M          the MLP

    and 2·D·V for the logits. GPT-2 small (V = 50,257, S = 1,024): 855,765,504 a token, 876,303,876,096 a sequence.
    """
    width, seq_len = model.hidden_dim, model.seq_len
    projections = 2 * width * 3 * width + 2 * width * width
    attention = 4 * seq_len * width + 3 * seq_len * model.num_heads
    mlp = 4 * width * width * model.mlp_scale
    logits = 2 * width * vocab_size
    return 3 * (model.num_layers * (projections + attention + mlp) + logits)
