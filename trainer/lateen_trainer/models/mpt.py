"""MPT: MosaicML, "Introducing MPT-7B" (2023), https://www.databricks.com/blog/mpt-7b.

Pre-norm blocks of causal attention with linear biases and MLP, no positions, no biases of layers, input and output
embedding tied. Names and values agree with `transformers`' MptForCausalLM. What that one leaves out of its own
configuration (norms of queries and keys, learned positions, biases, dropouts one by one) follows MosaicML's
llm-foundry.
"""

from dataclasses import dataclass

import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
from haliax import Axis, AxisSpec, NamedArray
from jaxtyping import PRNGKeyArray
from lateen_api.spec import MptSpec

from lateen_trainer.models.alibi import alibi_slopes
from lateen_trainer.models.attention import Attend, causal_attention
from lateen_trainer.models.cache import KeyValueCache, fold_cached
from lateen_trainer.models.config import TransformerConfig
from lateen_trainer.models.language_model import Resolve
from lateen_trainer.models.layers import ACTIVATIONS, LayerNorm, dropout, linear, token_table, unbind
from lateen_trainer.models.segments import position_embeddings, within_segments
from lateen_trainer.models.stack import Stack
from lateen_trainer.models.tensor_map import TensorMap


@dataclass(frozen=True)
class MptConfig(TransformerConfig):
    """The spec of an MPT, and its axes, each named once."""

    spec: MptSpec

    @property
    def longest_context(self) -> int | None:
        """Positions that have an embedding; linear biases have no end."""
        return None if self.spec.alibi else self.spec.seq_len

    @property
    def attention_scale(self) -> float:
        """Factor of the attention scores."""
        return self.HeadSize.size**-0.5 if self.spec.softmax_scale is None else self.spec.softmax_scale

    def linear(self, In: AxisSpec, Out: AxisSpec, *, key: PRNGKeyArray) -> hnn.Linear:
        """A linear layer, with a bias or without."""
        return linear(In, Out, std=self.spec.initializer_range, bias=not self.spec.no_bias, key=key)

    def norm(self) -> LayerNorm:
        """A norm over the width, with a bias or without."""
        return LayerNorm.init(self.Embed, self.spec.layer_norm_epsilon, bias=not self.spec.no_bias)

    Mlp = property(lambda self: Axis("mlp", self.spec.hidden_dim * self.spec.mlp_scale))


class Attention(eqx.Module):
    """Multi-head causal self-attention, with linear biases or without."""

    wqkv: hnn.Linear  # Embed → (qkv, Heads, HeadSize)
    out_proj: hnn.Linear  # (Heads, HeadSize) → Embed
    q_ln: LayerNorm | None
    k_ln: LayerNorm | None
    config: MptConfig = eqx.field(static=True)

    @staticmethod
    def init(config: MptConfig, *, key: PRNGKeyArray) -> "Attention":
        k_in, k_out = jax.random.split(key)
        heads = (config.Heads, config.HeadSize)
        return Attention(
            config.linear(config.Embed, (Axis("qkv", 3), *heads), key=k_in),
            config.linear(heads, config.Embed, key=k_out),
            config.norm() if config.spec.qk_ln else None,
            config.norm() if config.spec.qk_ln else None,
            config,
        )

    @jax.named_scope("attention")
    def __call__(self, x: NamedArray, *, key: PRNGKeyArray | None, attend: Attend = causal_attention) -> NamedArray:
        """x: [Batch, Pos, Embed] → [Batch, Pos, Embed]"""
        spec = self.config.spec
        qkv = self.wqkv(x)
        if spec.clip_qkv is not None:
            qkv = hax.clip(qkv, -spec.clip_qkv, spec.clip_qkv)
        q, k, v = unbind(qkv, "qkv")
        if self.q_ln is not None and self.k_ln is not None:
            q, k = self._over_all_heads(self.q_ln, q), self._over_all_heads(self.k_ln, k)
        out = attend(
            q,
            k,
            v,
            scale=self.config.attention_scale,
            alibi=alibi_slopes(self.config.Heads, spec.alibi_bias_max) if spec.alibi else None,
            platform=self.config.platform,
            upcast=spec.upcast_attn,
            dropout=spec.attn_pdrop,
            dropout_key=key,
        )
        return self.out_proj(out)

    def _over_all_heads(self, norm: LayerNorm, x: NamedArray) -> NamedArray:
        """The norm over heads and head size as one axis: as wide as the residual stream."""
        config = self.config
        return norm(x.flatten_axes((config.Heads, config.HeadSize), "embed")).unflatten_axis(
            "embed", (config.Heads, config.HeadSize)
        )


class Mlp(eqx.Module):
    """Two linear layers with an activation between."""

    up_proj: hnn.Linear  # Embed → Mlp
    down_proj: hnn.Linear  # Mlp → Embed
    config: MptConfig = eqx.field(static=True)

    @staticmethod
    def init(config: MptConfig, *, key: PRNGKeyArray) -> "Mlp":
        k_up, k_down = jax.random.split(key)
        return Mlp(
            config.linear(config.Embed, config.Mlp, key=k_up),
            config.linear(config.Mlp, config.Embed, key=k_down),
            config,
        )

    @jax.named_scope("mlp")
    def __call__(self, x: NamedArray) -> NamedArray:
        """x: [..., Embed] → [..., Embed]"""
        return self.down_proj(ACTIVATIONS[self.config.spec.activation_function](self.up_proj(x)))


class Block(eqx.Module):
    """x + attention(norm(x)), then x + ffn(norm(x))."""

    norm_1: LayerNorm
    attn: Attention
    norm_2: LayerNorm
    ffn: Mlp

    @staticmethod
    def init(config: MptConfig, *, key: PRNGKeyArray) -> "Block":
        k_attn, k_ffn = jax.random.split(key)
        attn, ffn = Attention.init(config, key=k_attn), Mlp.init(config, key=k_ffn)
        return Block(config.norm(), attn, config.norm(), ffn)

    @jax.named_scope("block")
    def __call__(
        self, x: NamedArray, layer: jax.Array, *, key: PRNGKeyArray | None, attend: Attend = causal_attention
    ) -> NamedArray:
        """x: [Batch, Pos, Embed] → [Batch, Pos, Embed]; layer: number of the block, from 0."""
        pdrop = self.attn.config.spec.resid_pdrop
        if key is not None:
            key = jax.random.fold_in(key, layer)
        k_weights, k_attn, k_ffn = (None,) * 3 if key is None else jax.random.split(key, 3)
        x = x + dropout(self.attn(self.norm_1(x), key=k_weights, attend=attend), pdrop, key=k_attn)
        return x + dropout(self.ffn(self.norm_2(x)), pdrop, key=k_ffn)


class Mpt(eqx.Module):
    """Token embedding, positions if they are learned, a stack of blocks, a last norm.

    The output layer is the token embedding (see `lm_head`).
    """

    wte: NamedArray  # [Vocab, Embed]
    wpe: NamedArray | None  # [Pos, Embed]; None: linear biases
    blocks: Stack[Block]
    norm_f: LayerNorm
    config: MptConfig = eqx.field(static=True)

    @staticmethod
    def init(config: MptConfig, *, key: PRNGKeyArray) -> "Mpt":
        """Weights are normal with `initializerRange`, norms 1 and biases 0, as in transformers."""
        k_wte, k_wpe, k_blocks = jax.random.split(key, 3)
        spec = config.spec
        return Mpt(
            token_table(config.Vocab, config.Embed, config.vocab_size, std=spec.initializer_range, key=k_wte),
            None if spec.alibi else hax.random.normal(k_wpe, (config.Pos, config.Embed)) * spec.initializer_range,
            Stack.init(
                config.Layers,
                lambda key: Block.init(config, key=key),
                key=k_blocks,
                gradient_checkpointing=spec.gradient_checkpointing,
            ),
            config.norm(),
            config,
        )

    @property
    def lm_head(self) -> NamedArray:
        """[Vocab, Embed]: logits are hidden · lm_headᵀ."""
        return self.wte

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
            tokens: [Batch, Pos] integers below the vocabulary's size. With linear biases Pos may be of any length,
                with learned positions it may be shorter than the config's.
            segments: [Batch, Pos] numbers of the documents in each sequence; None: a sequence is one document.
            key: for dropout; None: no dropout (evaluation).
            resolve: makes a block whole before it is used; all other parameters are whole already.

        Returns:
            [Batch, Pos, Embed]
        """
        k_embed, k_blocks = (None, None) if key is None else jax.random.split(key)
        with jax.named_scope("embedding"):
            x = self.wte.take("vocab", tokens)
            if self.wpe is not None:
                x = x + position_embeddings(self.wpe, tokens.resolve_axis("position"), segments)
            x = dropout(x.rearrange((..., "position", "embed")), self.config.spec.embed_pdrop, key=k_embed)
        attend = within_segments(segments)
        x = self.blocks.fold(lambda block, x, layer: resolve(block)(x, layer, key=k_blocks, attend=attend), x)
        return self.norm_f(x)

    def init_cache(self, Batch: Axis, capacity: int) -> KeyValueCache:
        """An empty cache for `hidden_cached` and sequences of at most `capacity` tokens."""
        return self.config.init_cache(Batch, capacity, self.wte.dtype)

    def hidden_cached(
        self, tokens: NamedArray, cache: KeyValueCache, count: jax.Array | int = 1
    ) -> tuple[NamedArray, KeyValueCache]:
        """`hidden` of the tokens that come behind those of a cache, and the cache with them.

        Args:
            tokens: [Batch, Pos], either the first of all, of which `count` are no filling, or the next one.
        """
        with jax.named_scope("embedding"):
            x = self.wte.take("vocab", tokens)
            if self.wpe is not None:
                x = x + self.wpe.take("position", cache.positions(tokens.resolve_axis("position")))

        def apply(block: Block, x: NamedArray, layer: jax.Array, attend: Attend) -> NamedArray:
            return block(x, layer, key=None, attend=attend)

        x, cache = fold_cached(self.blocks, apply, x.rearrange((..., "position", "embed")), cache, count)
        return self.norm_f(x), cache

    def logits(self, tokens: NamedArray) -> NamedArray:
        """[Batch, Pos] → [Batch, Pos, vocab] without padding: all logits at once, for generation and tests."""
        logits = hax.dot(self.hidden(tokens), self.lm_head, axis="embed")
        return logits.slice("vocab", start=0, length=self.config.vocab_size)


_BLOCK = "transformer.blocks.{layers}"

TENSORS = TensorMap(
    base="transformer.",
    lines={
        "wte": "transformer.wte.weight [vocab embed]",
        "blocks.blocks.norm_1.weight": f"{_BLOCK}.norm_1.weight [embed]",
        "blocks.blocks.attn.wqkv.weight": f"{_BLOCK}.attn.Wqkv.weight [(qkv heads head_size) embed]",
        "blocks.blocks.attn.out_proj.weight": f"{_BLOCK}.attn.out_proj.weight [embed (heads head_size)]",
        "blocks.blocks.norm_2.weight": f"{_BLOCK}.norm_2.weight [embed]",
        "blocks.blocks.ffn.up_proj.weight": f"{_BLOCK}.ffn.up_proj.weight [mlp embed]",
        "blocks.blocks.ffn.down_proj.weight": f"{_BLOCK}.ffn.down_proj.weight [embed mlp]",
        "norm_f.weight": "transformer.norm_f.weight [embed]",
    },
    tied={"lm_head.weight": "wte"},
)
"""MptForCausalLM. It has no place for biases, learned positions, and norms of queries and keys: models that have them
are refused (`lateen_api.hugging_face.families`)."""
