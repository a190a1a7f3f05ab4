"""Llama, and the families that differ from it by a few options.

- Llama 1, 2 and 3: Touvron et al., https://arxiv.org/abs/2302.13971, https://arxiv.org/abs/2307.09288; Grattafiori et
  al., https://arxiv.org/abs/2407.21783
- Mistral: Jiang et al., https://arxiv.org/abs/2310.06825: a sliding window
- Qwen2: Yang et al., https://arxiv.org/abs/2407.10671: biases on queries, keys and values; a window in some layers
- Qwen3: https://arxiv.org/abs/2505.09388: queries and keys are normalised head by head

Pre-norm blocks of causal attention and gated MLP, RMS norms, rotary positions. Several heads of queries share one of
keys and values (Ainslie et al., https://arxiv.org/abs/2305.13245). Weights, names and values agree with
`transformers`' LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM.
"""

from dataclasses import dataclass

import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
import jax.numpy as jnp
from haliax import Axis, NamedArray
from jaxtyping import PRNGKeyArray
from lateen_api.spec import LlamaLikeSpec

from lateen_trainer.models.attention import Attend, causal_attention
from lateen_trainer.models.cache import KeyValueCache, fold_cached
from lateen_trainer.models.config import TransformerConfig
from lateen_trainer.models.language_model import Resolve
from lateen_trainer.models.layers import GatedMlp, RmsNorm, linear, token_table
from lateen_trainer.models.rotary import RotaryTables, rotary_tables
from lateen_trainer.models.segments import positions, within_segments
from lateen_trainer.models.stack import Stack
from lateen_trainer.models.tensor_map import TensorMap


@dataclass(frozen=True)
class LlamaConfig(TransformerConfig):
    """The spec of a Llama or a relative, and its axes, each named once."""

    spec: LlamaLikeSpec

    @property
    def longest_context(self) -> None:
        """Rotary positions have no end."""

    Heads = property(lambda self: Axis("heads", self.spec.kv_heads))
    Group = property(lambda self: Axis("group", self.spec.group_size))
    Mlp = property(lambda self: Axis("mlp", self.spec.intermediate_dim))

    @property
    def window(self) -> int | None:
        """Positions that a token attends to in the layers that have a window; None: none has."""
        return next((window for window in self.spec.windows if window is not None), None)

    @property
    def window_of_all(self) -> int | None:
        """The window, if all layers have it."""
        return None if None in self.spec.windows else self.window

    def windowed(self, layer: jax.Array) -> jax.Array | None:
        """Whether a layer has the window; None: all have, or none."""
        has_window = [window is not None for window in self.spec.windows]
        return jnp.asarray(has_window)[layer] if len(set(has_window)) > 1 else None


class Attention(eqx.Module):
    """Causal self-attention in which `group` heads of queries share one of keys and values.

    Heads are those of keys and values; transformers' head number is head · group size + number in the group.
    """

    q_proj: hnn.Linear  # Embed → (Heads, Group, HeadSize)
    k_proj: hnn.Linear  # Embed → (Heads, HeadSize)
    v_proj: hnn.Linear  # Embed → (Heads, HeadSize)
    o_proj: hnn.Linear  # (Heads, Group, HeadSize) → Embed
    q_norm: RmsNorm | None
    k_norm: RmsNorm | None
    config: LlamaConfig = eqx.field(static=True)

    @staticmethod
    def init(config: LlamaConfig, *, key: PRNGKeyArray) -> "Attention":
        k_query, k_key, k_value, k_output = jax.random.split(key, 4)
        spec, std = config.spec, config.spec.initializer_range
        queries, keys = (config.Heads, config.Group, config.HeadSize), (config.Heads, config.HeadSize)
        qkv_bias, output_bias = spec.qkv_has_bias, spec.attention_output_has_bias
        norm = lambda: RmsNorm.init(config.HeadSize, spec.layer_norm_epsilon) if spec.normalizes_heads else None  # noqa: E731
        return Attention(
            linear(config.Embed, queries, std=std, bias=qkv_bias, key=k_query),
            linear(config.Embed, keys, std=std, bias=qkv_bias, key=k_key),
            linear(config.Embed, keys, std=std, bias=qkv_bias, key=k_value),
            linear(queries, config.Embed, std=std, bias=output_bias, key=k_output),
            norm(),
            norm(),
            config,
        )

    @jax.named_scope("attention")
    def __call__(
        self, x: NamedArray, layer: jax.Array, rotary: RotaryTables, attend: Attend = causal_attention
    ) -> NamedArray:
        """x: [Batch, Pos, Embed] → [Batch, Pos, Embed]"""
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        out = attend(
            rotary.rotate(q),
            rotary.rotate(k),
            v,
            scale=self.config.HeadSize.size**-0.5,
            window=self.config.window,
            windowed=self.config.windowed(layer),
            platform=self.config.platform,
            upcast=self.config.spec.upcast_attn,
        )
        return self.o_proj(out)


class Block(eqx.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    input_layernorm: RmsNorm
    self_attn: Attention
    post_attention_layernorm: RmsNorm
    mlp: GatedMlp

    @staticmethod
    def init(config: LlamaConfig, *, key: PRNGKeyArray) -> "Block":
        k_attn, k_mlp = jax.random.split(key)
        spec = config.spec
        return Block(
            RmsNorm.init(config.Embed, spec.layer_norm_epsilon),
            Attention.init(config, key=k_attn),
            RmsNorm.init(config.Embed, spec.layer_norm_epsilon),
            GatedMlp.init(
                config.Embed,
                config.Mlp,
                spec.activation_function,
                std=spec.initializer_range,
                bias=spec.mlp_has_bias,
                key=k_mlp,
            ),
        )

    @jax.named_scope("block")
    def __call__(
        self, x: NamedArray, layer: jax.Array, rotary: RotaryTables, attend: Attend = causal_attention
    ) -> NamedArray:
        """x: [Batch, Pos, Embed] → [Batch, Pos, Embed]; layer: number of the block, from 0."""
        x = x + self.self_attn(self.input_layernorm(x), layer, rotary, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(eqx.Module):
    """Token embedding, a stack of blocks, a last norm, and an output layer unless the embedding is it."""

    embed_tokens: NamedArray  # [Vocab, Embed]
    blocks: Stack[Block]
    norm: RmsNorm
    untied_head: NamedArray | None  # [Vocab, Embed]
    config: LlamaConfig = eqx.field(static=True)

    @staticmethod
    def init(config: LlamaConfig, *, key: PRNGKeyArray) -> "Llama":
        """Weights are normal with `initializerRange`, norms 1 and biases 0, as in transformers."""
        k_embed, k_head, k_blocks = jax.random.split(key, 3)
        spec = config.spec
        table = lambda key: token_table(  # noqa: E731
            config.Vocab, config.Embed, config.vocab_size, std=spec.initializer_range, key=key
        )
        return Llama(
            table(k_embed),
            Stack.init(
                config.Layers,
                lambda key: Block.init(config, key=key),
                key=k_blocks,
                gradient_checkpointing=spec.gradient_checkpointing,
            ),
            RmsNorm.init(config.Embed, spec.layer_norm_epsilon),
            None if spec.tie_word_embeddings else table(k_head),
            config,
        )

    @property
    def lm_head(self) -> NamedArray:
        """[Vocab, Embed]: logits are hidden · lm_headᵀ."""
        return self.embed_tokens if self.untied_head is None else self.untied_head

    def hidden(
        self,
        tokens: NamedArray,
        *,
        segments: NamedArray | None = None,
        key: PRNGKeyArray | None = None,
        resolve: Resolve = lambda m: m,
    ) -> NamedArray:
        """The last hidden states, from which `lm_head` makes logits.

        Args:
            tokens: [Batch, Pos] integers below the vocabulary's size. Pos may be of any length.
            segments: [Batch, Pos] numbers of the documents in each sequence; None: a sequence is one document.
            key: not used: nothing is dropped.
            resolve: makes a block whole before it is used; all other parameters are whole already.

        Returns:
            [Batch, Pos, Embed]
        """
        del key
        Pos = tokens.resolve_axis("position")
        rotary = self._rotary_tables(positions(Pos, segments), Pos.size)
        attend = within_segments(segments)
        with jax.named_scope("embedding"):
            x = self.embed_tokens.take("vocab", tokens).rearrange((..., "position", "embed"))

        def apply(block: Block, x: NamedArray, layer: jax.Array) -> NamedArray:
            return resolve(block)(x, layer, rotary, attend)

        x = self.blocks.fold(apply, x)
        return self.norm(x)

    def init_cache(self, Batch: Axis, capacity: int) -> KeyValueCache:
        """An empty cache for `hidden_cached` and sequences of at most `capacity` tokens."""
        return self.config.init_cache(Batch, capacity, self.embed_tokens.dtype, window=self.config.window_of_all)

    def hidden_cached(
        self, tokens: NamedArray, cache: KeyValueCache, count: jax.Array | int = 1
    ) -> tuple[NamedArray, KeyValueCache]:
        """`hidden` of the tokens that come behind those of a cache, and the cache with them.

        Rotary embeddings whose scaling depends on the sequence's length (`dynamic`) are scaled for the capacity of the
        cache, from the first token on: the kept keys could not be turned again.

        Args:
            tokens: [Batch, Pos], either the first of all, of which `count` are no filling, or the next one.
        """
        rotary = self._rotary_tables(cache.positions(tokens.resolve_axis("position")), cache.capacity)
        with jax.named_scope("embedding"):
            x = self.embed_tokens.take("vocab", tokens).rearrange((..., "position", "embed"))

        def apply(block: Block, x: NamedArray, layer: jax.Array, attend: Attend) -> NamedArray:
            return block(x, layer, rotary, attend)

        x, cache = fold_cached(self.blocks, apply, x, cache, count)
        return self.norm(x), cache

    def _rotary_tables(self, at: NamedArray, length: int) -> RotaryTables:
        spec = self.config.spec
        return rotary_tables(spec.rope, self.config.HeadSize, at, length=length, context=spec.seq_len)

    def logits(self, tokens: NamedArray) -> NamedArray:
        """[Batch, Pos] → [Batch, Pos, vocab] without padding: all logits at once, for generation and tests."""
        logits = hax.dot(self.hidden(tokens), self.lm_head, axis="embed")
        return logits.slice("vocab", start=0, length=self.config.vocab_size)


_LAYER = "model.layers.{layers}."
_QUERIES, _KEYS = "(heads group head_size)", "(heads head_size)"

TENSORS = TensorMap(
    base="model.",
    lines={
        "embed_tokens": "model.embed_tokens.weight [vocab embed]",
        "blocks.blocks.input_layernorm.weight": f"{_LAYER}input_layernorm.weight [embed]",
        "blocks.blocks.self_attn.q_proj.weight": f"{_LAYER}self_attn.q_proj.weight [{_QUERIES} embed]",
        "blocks.blocks.self_attn.q_proj.bias": f"{_LAYER}self_attn.q_proj.bias [{_QUERIES}]",
        "blocks.blocks.self_attn.k_proj.weight": f"{_LAYER}self_attn.k_proj.weight [{_KEYS} embed]",
        "blocks.blocks.self_attn.k_proj.bias": f"{_LAYER}self_attn.k_proj.bias [{_KEYS}]",
        "blocks.blocks.self_attn.v_proj.weight": f"{_LAYER}self_attn.v_proj.weight [{_KEYS} embed]",
        "blocks.blocks.self_attn.v_proj.bias": f"{_LAYER}self_attn.v_proj.bias [{_KEYS}]",
        "blocks.blocks.self_attn.o_proj.weight": f"{_LAYER}self_attn.o_proj.weight [embed {_QUERIES}]",
        "blocks.blocks.self_attn.o_proj.bias": f"{_LAYER}self_attn.o_proj.bias [embed]",
        "blocks.blocks.self_attn.q_norm.weight": f"{_LAYER}self_attn.q_norm.weight [head_size]",
        "blocks.blocks.self_attn.k_norm.weight": f"{_LAYER}self_attn.k_norm.weight [head_size]",
        "blocks.blocks.post_attention_layernorm.weight": f"{_LAYER}post_attention_layernorm.weight [embed]",
        "blocks.blocks.mlp.gate_proj.weight": f"{_LAYER}mlp.gate_proj.weight [mlp embed]",
        "blocks.blocks.mlp.gate_proj.bias": f"{_LAYER}mlp.gate_proj.bias [mlp]",
        "blocks.blocks.mlp.up_proj.weight": f"{_LAYER}mlp.up_proj.weight [mlp embed]",
        "blocks.blocks.mlp.up_proj.bias": f"{_LAYER}mlp.up_proj.bias [mlp]",
        "blocks.blocks.mlp.down_proj.weight": f"{_LAYER}mlp.down_proj.weight [embed mlp]",
        "blocks.blocks.mlp.down_proj.bias": f"{_LAYER}mlp.down_proj.bias [embed]",
        "norm.weight": "model.norm.weight [embed]",
        "untied_head": "lm_head.weight [vocab embed]",
    },
    tied={"lm_head.weight": "embed_tokens"},
    ignored=(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
)
"""LlamaForCausalLM and the classes of the relatives. Weights of linear layers are [out, in] there."""
