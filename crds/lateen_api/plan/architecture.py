"""What the plan knows of each family: its named axes, its parameters, and what a block's activations take.

A family states its parameters once, under the names and axes that the trainer's arrays have. Counts, FLOPs, the parts
that a device holds, and which rule of the optimizer a parameter gets all follow from that.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from lateen_api.spec.model import BackpackSpec, Gpt2LikeSpec, Gpt2Spec, LlamaLikeSpec, ModelSpec, MptSpec

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
    def is_table(self) -> bool:
        """Is a row of it taken for each token or position?"""
        return bool({"vocab", "position"} & self.axes.keys())

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

    activations_behind_blocks: int = 0
    """Numbers per token that are computed between the last block and the logits, on every device."""

    flops_per_pair_behind_blocks: int = 0
    """FLOPs of the forward pass there, for each pair of a token and a position that it attends to."""


def architecture(model: ModelSpec, vocab_size: int) -> Architecture:
    """The architecture of a spec. `hiddenDim`, `numHeads` and such must fit each other (`checks.check_model`)."""
    match model:
        case Gpt2Spec():
            return _gpt2(model, vocab_size)
        case LlamaLikeSpec():
            return _llama(model, vocab_size)
        case MptSpec():
            return _mpt(model, vocab_size)
        case BackpackSpec():
            return _backpack(model, vocab_size)


def _gpt2(model: Gpt2LikeSpec, vocab_size: int) -> Architecture:
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
            *naming.mlp("mlp", "mlp", ("embed",)),
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


def _backpack(model: BackpackSpec, vocab_size: int) -> Architecture:
    gpt2 = _gpt2(model, vocab_size)
    width, senses = model.hidden_dim, model.num_senses
    sense_mlp = width * model.sense_intermediate_scale
    # Without sense_mlp: one array has both axes, and they cannot both be divided over the same devices.
    sizes = {**gpt2.sizes, "senses": senses}
    naming = _Naming({**sizes, "qk": 2, "sense_size": model.sense_size, "sense_mlp": sense_mlp})
    parameters = (
        *(Parameter(f"gpt2_model.{p.name}", p.axes) for p in gpt2.parameters),
        *naming.layer_norm("sense_network.ln"),
        *naming.layer_norm("sense_network.block.ln_1"),
        *naming.mlp("sense_network.block.mlp", "mlp", ("embed",)),
        *naming.layer_norm("sense_network.block.ln_2"),
        *naming.mlp("sense_network.final_mlp", "sense_mlp", ("senses", "embed")),
        *naming.linear("sense_weight_net.c_attn", ("embed",), ("qk", "senses", "sense_size")),
    )
    # Three norms, two residuals, queries and keys; the two MLPs before and behind their activations.
    making_senses = 7 * width + 2 * sizes["mlp"] + 2 * sense_mlp
    # All senses, what attention makes of each in float32 and in the computation's type, and the gradient of one.
    weighing_senses = 5 * senses * width
    return dataclasses.replace(
        gpt2,
        sizes=sizes,
        origins={**gpt2.origins, "senses": "numSenses"},
        parameters=parameters,
        activations_behind_blocks=making_senses + weighing_senses,
        # Scores, weighted senses, mask and softmax.
        flops_per_pair_behind_blocks=2 * width + 2 * senses * width + 3 * senses,
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
        **({} if model.alibi else {"position": model.seq_len}),
    }
    naming = _Naming({**sizes, "qkv": 3, LAYERS: model.num_layers})
    heads = ("heads", "head_size")
    bias = not model.no_bias
    parameters = (
        naming.array("wte", "vocab", "embed"),
        *(() if model.alibi else (naming.array("wpe", "position", "embed"),)),
        *naming.in_blocks(
            *naming.layer_norm("norm_1", bias=bias),
            *naming.linear("attn.wqkv", ("embed",), ("qkv", *heads), bias=bias),
            *naming.linear("attn.out_proj", heads, ("embed",), bias=bias),
            *(p for name in ("attn.q_ln", "attn.k_ln") if model.qk_ln for p in naming.layer_norm(name, bias=bias)),
            *naming.layer_norm("norm_2", bias=bias),
            *naming.linear("ffn.up_proj", ("embed",), ("mlp",), bias=bias),
            *naming.linear("ffn.down_proj", ("mlp",), ("embed",), bias=bias),
        ),
        *naming.layer_norm("norm_f", bias=bias),
    )
    origins = {
        "embed": "hiddenDim",
        "heads": "numHeads",
        "head_size": "hiddenDim / numHeads",
        "mlp": "hiddenDim × mlpScale",
        "vocab": "entries of the vocabulary",
        "position": "seqLen",
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

    def layer_norm(self, name: str, *, bias: bool = True) -> Iterable[Parameter]:
        yield self.array(f"{name}.weight", "embed")
        if bias:
            yield self.array(f"{name}.bias", "embed")

    def linear(self, name: str, In: tuple[str, ...], Out: tuple[str, ...], *, bias: bool = True) -> Iterable[Parameter]:
        yield self.array(f"{name}.weight", *In, *Out)
        if bias:
            yield self.array(f"{name}.bias", *Out)

    def mlp(self, name: str, hidden: str, Out: tuple[str, ...]) -> Iterable[Parameter]:
        """The two layers of a GPT-2's MLP, from the width of the residual stream."""
        yield from self.linear(f"{name}.c_fc", ("embed",), (hidden,))
        yield from self.linear(f"{name}.c_proj", (hidden,), Out)

    def in_blocks(self, *parameters: Parameter) -> Iterable[Parameter]:
        """The parameters of a block as those of all blocks."""
        for parameter in parameters:
            yield Parameter(f"blocks.blocks.{parameter.name}", {LAYERS: self.sizes[LAYERS], **parameter.axes})
