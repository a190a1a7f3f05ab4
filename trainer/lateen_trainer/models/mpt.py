"""MPT: MosaicML, "Introducing MPT-7B" (2023), https://www.databricks.com/blog/mpt-7b.

Pre-norm blocks of causal attention with linear biases and MLP, no positions, no biases of layers, input and output
embedding tied. Names and values agree with `transformers`' MptForCausalLM; norms of queries and keys, which that one
leaves out, with MosaicML's llm-foundry.
"""

from dataclasses import dataclass

import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
from haliax import Axis, NamedArray
from jaxtyping import PRNGKeyArray
from lateen_api.spec import MptSpec

from lateen_trainer.models.alibi import alibi_slopes
from lateen_trainer.models.attention import causal_attention
from lateen_trainer.models.config import TransformerConfig
from lateen_trainer.models.language_model import Resolve
from lateen_trainer.models.layers import ACTIVATIONS, LayerNorm, linear, token_table, unbind
from lateen_trainer.models.stack import Stack


@dataclass(frozen=True)
class MptConfig(TransformerConfig):
    """The spec of an MPT, and its axes, each named once."""

    spec: MptSpec

    @property
    def longest_context(self) -> None:
        """Linear biases have no end."""

    Heads = property(lambda self: Axis("heads", self.spec.num_heads))
    Mlp = property(lambda self: Axis("mlp", self.spec.hidden_dim * self.spec.mlp_scale))


class Attention(eqx.Module):
    """Multi-head causal self-attention with linear biases."""

    wqkv: hnn.Linear  # Embed → (qkv, Heads, HeadSize)
    out_proj: hnn.Linear  # (Heads, HeadSize) → Embed
    q_ln: LayerNorm | None
    k_ln: LayerNorm | None
    config: MptConfig = eqx.field(static=True)

    @staticmethod
    def init(config: MptConfig, *, key: PRNGKeyArray) -> "Attention":
        k_in, k_out = jax.random.split(key)
        std, heads = config.spec.initializer_range, (config.Heads, config.HeadSize)
        norm = lambda: _norm(config) if config.spec.qk_ln else None  # noqa: E731
        return Attention(
            linear(config.Embed, (Axis("qkv", 3), *heads), std=std, bias=False, key=k_in),
            linear(heads, config.Embed, std=std, bias=False, key=k_out),
            norm(),
            norm(),
            config,
        )

    @jax.named_scope("attention")
    def __call__(self, x: NamedArray) -> NamedArray:
        """x: [Batch, Pos, Embed] → [Batch, Pos, Embed]"""
        spec = self.config.spec
        qkv = self.wqkv(x)
        if spec.clip_qkv is not None:
            qkv = hax.clip(qkv, -spec.clip_qkv, spec.clip_qkv)
        q, k, v = unbind(qkv, "qkv")
        if self.q_ln is not None and self.k_ln is not None:
            q, k = self._over_all_heads(self.q_ln, q), self._over_all_heads(self.k_ln, k)
        out = causal_attention(
            q,
            k,
            v,
            scale=self.config.HeadSize.size**-0.5,
            alibi=alibi_slopes(self.config.Heads, spec.alibi_bias_max),
            platform=self.config.platform,
            upcast=spec.upcast_attn,
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
        std = config.spec.initializer_range
        return Mlp(
            linear(config.Embed, config.Mlp, std=std, bias=False, key=k_up),
            linear(config.Mlp, config.Embed, std=std, bias=False, key=k_down),
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
        return Block(_norm(config), Attention.init(config, key=k_attn), _norm(config), Mlp.init(config, key=k_ffn))

    @jax.named_scope("block")
    def __call__(self, x: NamedArray) -> NamedArray:
        """x: [Batch, Pos, Embed] → [Batch, Pos, Embed]"""
        x = x + self.attn(self.norm_1(x))
        return x + self.ffn(self.norm_2(x))


class Mpt(eqx.Module):
    """Token embedding, a stack of blocks, a last norm. The output layer is the token embedding (see `lm_head`)."""

    wte: NamedArray  # [Vocab, Embed]
    blocks: Stack[Block]
    norm_f: LayerNorm
    config: MptConfig = eqx.field(static=True)

    @staticmethod
    def init(config: MptConfig, *, key: PRNGKeyArray) -> "Mpt":
        """Weights are normal with `initializerRange`, and norms 1, as in transformers."""
        k_wte, k_blocks = jax.random.split(key)
        spec = config.spec
        return Mpt(
            token_table(config.Vocab, config.Embed, config.vocab_size, std=spec.initializer_range, key=k_wte),
            Stack.init(
                config.Layers,
                lambda key: Block.init(config, key=key),
                key=k_blocks,
                gradient_checkpointing=spec.gradient_checkpointing,
            ),
            _norm(config),
            config,
        )

    @property
    def lm_head(self) -> NamedArray:
        """[Vocab, Embed]: logits are hidden · lm_headᵀ."""
        return self.wte

    def hidden(
        self, tokens: NamedArray, *, key: PRNGKeyArray | None = None, resolve: Resolve = lambda m: m
    ) -> NamedArray:
        """The last hidden states, from which `lm_head` makes logits.

        Args:
            tokens: [Batch, Pos] integers below the vocabulary's size. Pos may be of any length.
            key: not used: nothing is dropped.
            resolve: makes a block whole before it is used; all other parameters are whole already.

        Returns:
            [Batch, Pos, Embed]
        """
        del key
        with jax.named_scope("embedding"):
            x = self.wte.take("vocab", tokens).rearrange((..., "position", "embed"))
        x = self.blocks.fold(lambda block, x, layer: resolve(block)(x), x)
        return self.norm_f(x)

    def logits(self, tokens: NamedArray) -> NamedArray:
        """[Batch, Pos] → [Batch, Pos, vocab] without padding: all logits at once, for generation and tests."""
        logits = hax.dot(self.hidden(tokens), self.lm_head, axis="embed")
        return logits.slice("vocab", start=0, length=self.config.vocab_size)


def _norm(config: MptConfig) -> LayerNorm:
    return LayerNorm.init(config.Embed, config.spec.layer_norm_epsilon, bias=False)
