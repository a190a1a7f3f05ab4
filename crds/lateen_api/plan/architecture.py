"""What the plan knows of each family: its named axes, its parameters, and what a block's activations take.

A family states its parameters once, under the names and axes that the trainer's arrays have. Counts, FLOPs, the parts
that a device holds, and which rule of the optimizer a parameter gets all follow from that.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lateen_api.spec.model import Gpt2Spec, LlamaLikeSpec, ModelSpec, MptSpec

LAYERS = "layers"
"""Axis along which the parameters of all blocks are stacked."""


@dataclass(frozen=True)
class Parameter:
    """One array of the model, as the trainer has it."""

    name: str
    """Its path in the model: `blocks.blocks.attn.c_attn.weight`."""

    axes: dict[str, int]
    """Its named axes and their sizes, in their order."""

    @property
    def checkpoint_name(self) -> str:
        """Its name in checkpoints, where it is a part of the state: `model.blocks.blocks.attn.c_attn.weight`."""
        return f"model.{self.name}"

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.axes.values())

    @property
    def is_stacked(self) -> bool:
        """Is it the parameter of all blocks, one after the other?"""
        return LAYERS in self.axes

    @property
    def is_matrix(self) -> bool:
        """Is it multiplied with vectors? Biases, and the weights of norms, are not."""
        return not self.name.endswith(".bias") and len(self.axes.keys() - {LAYERS}) > 1


@dataclass(frozen=True)
class Architecture:
    """What the plan needs to know of a model."""

    sizes: dict[str, int]
    """Length of each named axis that sharding rules may name."""

    origins: dict[str, str]
    """Where the sizes come from, for people: fields of `spec.model`."""

    parameters: tuple[Parameter, ...]

    whole_activations: int
    """Numbers per token that a block computes on every device that splits it."""

    divided_activations: int
    """Numbers per token that a block computes divided over the devices that split it."""


def architecture(model: ModelSpec, vocab_size: int) -> Architecture:
    """The architecture of a spec. `hiddenDim`, `numHeads` and such must fit each other (`checks.check_model`)."""
    match model:
        case Gpt2Spec():
            return _gpt2(model, vocab_size)
        case LlamaLikeSpec():
            return _llama(model, vocab_size)
        case MptSpec():
            return _mpt(model, vocab_size)


def _gpt2(model: Gpt2Spec, vocab_size: int) -> Architecture:
    sizes = {
        "embed": model.hidden_dim,
        "heads": model.num_heads,
        "head_size": model.head_size,
        "mlp": model.hidden_dim * model.mlp_scale,
        "vocab": vocab_size,
        "position": model.seq_len,
    }
    naming = _Naming({**sizes, "qkv": 3, LAYERS: model.num_layers})
    heads = ("heads", "head_size")
    parameters = (
        naming.array("wte", "vocab", "embed"),
        naming.array("wpe", "position", "embed"),
        *naming.in_blocks(
            *naming.layer_norm("ln_1"),
            *naming.linear("attn.c_attn", ("embed",), ("qkv", *heads)),
            *naming.linear("attn.c_proj", heads, ("embed",)),
            *naming.layer_norm("ln_2"),
            *naming.linear("mlp.c_fc", ("embed",), ("mlp",)),
            *naming.linear("mlp.c_proj", ("mlp",), ("embed",)),
        ),
        *naming.layer_norm("ln_f"),
    )
    origins = {
        "embed": "hiddenDim",
        "heads": "numHeads",
        "head_size": "hiddenDim / numHeads",
        "mlp": "hiddenDim × mlpScale",
        "vocab": "entries of the vocabulary",
        "position": "seqLen",
    }
    return Architecture(
        sizes,
        origins,
        parameters,
        # Two norms, output of attention and MLP, residual.
        whole_activations=5 * model.hidden_dim,
        # q, k, v, values; before and behind the activation.
        divided_activations=4 * model.hidden_dim + 2 * sizes["mlp"],
    )


def _llama(model: LlamaLikeSpec, vocab_size: int) -> Architecture:
    sizes = {
        "embed": model.hidden_dim,
        "heads": model.kv_heads,
        "head_size": model.head_size,
        "mlp": model.intermediate_dim,
        "vocab": vocab_size,
    }
    naming = _Naming({**sizes, "group": model.group_size, LAYERS: model.num_layers})
    queries, keys = ("heads", "group", "head_size"), ("heads", "head_size")
    qkv_bias, output_bias = model.qkv_has_bias, model.attention_output_has_bias
    parameters = (
        naming.array("embed_tokens", "vocab", "embed"),
        *naming.in_blocks(
            naming.array("input_layernorm.weight", "embed"),
            *naming.linear("self_attn.q_proj", ("embed",), queries, bias=qkv_bias),
            *naming.linear("self_attn.k_proj", ("embed",), keys, bias=qkv_bias),
            *naming.linear("self_attn.v_proj", ("embed",), keys, bias=qkv_bias),
            *naming.linear("self_attn.o_proj", queries, ("embed",), bias=output_bias),
            *(
                naming.array(f"self_attn.{name}.weight", "head_size")
                for name in ("q_norm", "k_norm")
                if model.normalizes_heads
            ),
            naming.array("post_attention_layernorm.weight", "embed"),
            *naming.linear("mlp.gate_proj", ("embed",), ("mlp",), bias=model.mlp_has_bias),
            *naming.linear("mlp.up_proj", ("embed",), ("mlp",), bias=model.mlp_has_bias),
            *naming.linear("mlp.down_proj", ("mlp",), ("embed",), bias=model.mlp_has_bias),
        ),
        naming.array("norm.weight", "embed"),
        *(() if model.tie_word_embeddings else (naming.array("untied_head", "vocab", "embed"),)),
    )
    origins = {
        "embed": "hiddenDim",
        "heads": "numKvHeads" if model.num_kv_heads is not None else "numHeads",
        "head_size": "headDim" if model.head_dim is not None else "hiddenDim / numHeads",
        "mlp": "intermediateDim",
        "vocab": "entries of the vocabulary",
    }
    query_width, key_width = (heads * model.head_size for heads in (model.num_heads, model.kv_heads))
    # Before they are rotated, and before they are normalised.
    versions = 3 if model.normalizes_heads else 2
    return Architecture(
        sizes,
        origins,
        parameters,
        # Two norms, output of attention and MLP, residual.
        whole_activations=5 * model.hidden_dim,
        # Queries and keys, values, what attention makes of them; gate, the other factor, and their product.
        divided_activations=versions * (query_width + key_width) + key_width + query_width + 3 * sizes["mlp"],
    )


def _mpt(model: MptSpec, vocab_size: int) -> Architecture:
    sizes = {
        "embed": model.hidden_dim,
        "heads": model.num_heads,
        "head_size": model.head_size,
        "mlp": model.hidden_dim * model.mlp_scale,
        "vocab": vocab_size,
    }
    naming = _Naming({**sizes, "qkv": 3, LAYERS: model.num_layers})
    heads = ("heads", "head_size")
    parameters = (
        naming.array("wte", "vocab", "embed"),
        *naming.in_blocks(
            naming.array("norm_1.weight", "embed"),
            *naming.linear("attn.wqkv", ("embed",), ("qkv", *heads), bias=False),
            *naming.linear("attn.out_proj", heads, ("embed",), bias=False),
            *(naming.array(f"attn.{name}.weight", "embed") for name in ("q_ln", "k_ln") if model.qk_ln),
            naming.array("norm_2.weight", "embed"),
            *naming.linear("ffn.up_proj", ("embed",), ("mlp",), bias=False),
            *naming.linear("ffn.down_proj", ("mlp",), ("embed",), bias=False),
        ),
        naming.array("norm_f.weight", "embed"),
    )
    origins = {
        "embed": "hiddenDim",
        "heads": "numHeads",
        "head_size": "hiddenDim / numHeads",
        "mlp": "hiddenDim × mlpScale",
        "vocab": "entries of the vocabulary",
    }
    # q, k, v, values; queries and keys before they are normalised; before and behind the activation.
    versions = 6 if model.qk_ln else 4
    return Architecture(
        sizes,
        origins,
        parameters,
        # Two norms, output of attention and MLP, residual.
        whole_activations=5 * model.hidden_dim,
        divided_activations=versions * model.hidden_dim + 2 * sizes["mlp"],
    )


@dataclass(frozen=True)
class _Naming:
    """Parameters from names of axes."""

    sizes: dict[str, int]

    def array(self, name: str, *axes: str) -> Parameter:
        return Parameter(name, {axis: self.sizes[axis] for axis in axes})

    def layer_norm(self, name: str) -> Iterable[Parameter]:
        return self.array(f"{name}.weight", "embed"), self.array(f"{name}.bias", "embed")

    def linear(self, name: str, In: tuple[str, ...], Out: tuple[str, ...], *, bias: bool = True) -> Iterable[Parameter]:
        yield self.array(f"{name}.weight", *In, *Out)
        if bias:
            yield self.array(f"{name}.bias", *Out)

    def in_blocks(self, *parameters: Parameter) -> Iterable[Parameter]:
        """The parameters of a block as those of all blocks."""
        for parameter in parameters:
            yield Parameter(f"blocks.blocks.{parameter.name}", {LAYERS: self.sizes[LAYERS], **parameter.axes})
