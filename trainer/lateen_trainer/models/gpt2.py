"""GPT-2: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).

Pre-norm blocks of causal attention and MLP, learned positions, input and output embedding tied.
Weights, names and values agree with `transformers`' GPT2LMHeadModel.
"""

from dataclasses import dataclass

import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
from haliax import Axis, AxisSpec, NamedArray
from jaxtyping import PRNGKeyArray
from lateen_api.spec import Gpt2LikeSpec

from lateen_trainer.models.attention import Attend, causal_attention
from lateen_trainer.models.cache import KeyValueCache, fold_cached
from lateen_trainer.models.config import TransformerConfig
from lateen_trainer.models.language_model import Resolve
from lateen_trainer.models.layers import ACTIVATIONS, LayerNorm, dropout, linear, token_table, unbind
from lateen_trainer.models.segments import position_embeddings, within_segments
from lateen_trainer.models.stack import Stack
from lateen_trainer.models.tensor_map import TensorMap


@dataclass(frozen=True)
class Gpt2Config(TransformerConfig):
    """The spec of a GPT-2, and its axes, each named once."""

    spec: Gpt2LikeSpec

    @property
    def longest_context(self) -> int:
        """Positions that have an embedding."""
        return self.spec.seq_len

    Mlp = property(lambda self: Axis("mlp", self.spec.hidden_dim * self.spec.mlp_scale))


class Attention(eqx.Module):
    """Multi-head causal self-attention."""

    c_attn: hnn.Linear  # Embed → (qkv, Heads, HeadSize)
    c_proj: hnn.Linear  # (Heads, HeadSize) → Embed
    config: Gpt2Config = eqx.field(static=True)

    @staticmethod
    def init(config: Gpt2Config, *, key: PRNGKeyArray) -> "Attention":
        k_attn, k_proj = jax.random.split(key)
        std = config.spec.initializer_range
        heads = (config.Heads, config.HeadSize)
        return Attention(
            linear(config.Embed, (Axis("qkv", 3), *heads), std=std, key=k_attn),
            linear(heads, config.Embed, std=std / _residual_depth(config), key=k_proj),
            config,
        )

    @jax.named_scope("attention")
    def __call__(
        self, x: NamedArray, layer: jax.Array, *, key: PRNGKeyArray | None, attend: Attend = causal_attention
    ) -> NamedArray:
        """x: [Batch, Pos, Embed] → [Batch, Pos, Embed]"""
        spec = self.config.spec
        q, k, v = unbind(self.c_attn(x), "qkv")
        scale = self.config.HeadSize.size**-0.5
        if spec.scale_attn_by_inverse_layer_idx:
            scale = scale / (layer + 1.0).astype(q.dtype)
        out = attend(
            q,
            k,
            v,
            scale=scale,
            platform=self.config.platform,
            upcast=spec.upcast_attn,
            dropout=spec.attn_pdrop,
            dropout_key=key,
        )
        return self.c_proj(out)


class Mlp(eqx.Module):
    """Two linear layers with an activation between."""

    c_fc: hnn.Linear  # Embed → Hidden
    c_proj: hnn.Linear  # Hidden → Out
    config: Gpt2Config = eqx.field(static=True)

    @staticmethod
    def init(config: Gpt2Config, Hidden: Axis, Out: AxisSpec, *, key: PRNGKeyArray) -> "Mlp":
        """The second layer begins smaller than the first, as projections into the residual stream do."""
        k_fc, k_proj = jax.random.split(key)
        std = config.spec.initializer_range
        return Mlp(
            linear(config.Embed, Hidden, std=std, key=k_fc),
            linear(Hidden, Out, std=std / _residual_depth(config), key=k_proj),
            config,
        )

    @jax.named_scope("mlp")
    def __call__(self, x: NamedArray) -> NamedArray:
        """x: [..., Embed] → [..., Out]"""
        return self.c_proj(ACTIVATIONS[self.config.spec.activation_function](self.c_fc(x)))


class Block(eqx.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    ln_1: LayerNorm
    attn: Attention
    ln_2: LayerNorm
    mlp: Mlp

    @staticmethod
    def init(config: Gpt2Config, *, key: PRNGKeyArray) -> "Block":
        k_attn, k_mlp = jax.random.split(key)
        eps = config.spec.layer_norm_epsilon
        return Block(
            LayerNorm.init(config.Embed, eps),
            Attention.init(config, key=k_attn),
            LayerNorm.init(config.Embed, eps),
            Mlp.init(config, config.Mlp, config.Embed, key=k_mlp),
        )

    @jax.named_scope("block")
    def __call__(
        self, x: NamedArray, layer: jax.Array, *, key: PRNGKeyArray | None, attend: Attend = causal_attention
    ) -> NamedArray:
        """x: [Batch, Pos, Embed] → [Batch, Pos, Embed]; layer: number of the block, from 0."""
        pdrop = self.attn.config.spec.resid_pdrop
        if key is not None:
            key = jax.random.fold_in(key, layer)
        k_weights, k_attn, k_mlp = (None,) * 3 if key is None else jax.random.split(key, 3)
        x = x + dropout(self.attn(self.ln_1(x), layer, key=k_weights, attend=attend), pdrop, key=k_attn)
        return x + dropout(self.mlp(self.ln_2(x)), pdrop, key=k_mlp)


class Gpt2(eqx.Module):
    """Embeddings, a stack of blocks, a last norm. The output layer is the token embedding (see `lm_head`)."""

    wte: NamedArray  # [Vocab, Embed]
    wpe: NamedArray  # [Pos, Embed]
    blocks: Stack[Block]
    ln_f: LayerNorm
    config: Gpt2Config = eqx.field(static=True)

    @staticmethod
    def init(config: Gpt2Config, *, key: PRNGKeyArray) -> "Gpt2":
        """Weights are normal with `initializerRange`; projections into the residual stream are smaller by
        √(2 · layers), as in the paper."""
        k_wte, k_wpe, k_blocks = jax.random.split(key, 3)
        std = config.spec.initializer_range
        return Gpt2(
            token_table(config.Vocab, config.Embed, config.vocab_size, std=std, key=k_wte),
            hax.random.normal(k_wpe, (config.Pos, config.Embed)) * std,
            Stack.init(
                config.Layers,
                lambda key: Block.init(config, key=key),
                key=k_blocks,
                gradient_checkpointing=config.spec.gradient_checkpointing,
            ),
            LayerNorm.init(config.Embed, config.spec.layer_norm_epsilon),
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
            tokens: [Batch, Pos] integers below the vocabulary's size. Pos may be shorter than the config's.
            segments: [Batch, Pos] numbers of the documents in each sequence; None: a sequence is one document.
            key: for dropout; None: no dropout (evaluation).
            resolve: makes a block whole before it is used; all other parameters are whole already.

        Returns:
            [Batch, Pos, Embed]
        """
        k_embed, k_blocks = (None, None) if key is None else jax.random.split(key)
        Pos = tokens.resolve_axis("position")
        attend = within_segments(segments)
        with jax.named_scope("embedding"):
            x = self.wte.take("vocab", tokens) + position_embeddings(self.wpe, Pos, segments)
            x = dropout(x.rearrange((..., "position", "embed")), self.config.spec.embed_pdrop, key=k_embed)

        def apply(block: Block, x: NamedArray, layer: jax.Array) -> NamedArray:
            return resolve(block)(x, layer, key=k_blocks, attend=attend)

        x = self.blocks.fold(apply, x)
        return self.ln_f(x)

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
        positions = cache.positions(tokens.resolve_axis("position"))
        with jax.named_scope("embedding"):
            x = self.wte.take("vocab", tokens) + self.wpe.take("position", positions)

        def apply(block: Block, x: NamedArray, layer: jax.Array, attend: Attend) -> NamedArray:
            return block(x, layer, key=None, attend=attend)

        x, cache = fold_cached(self.blocks, apply, x.rearrange((..., "position", "embed")), cache, count)
        return self.ln_f(x), cache

    def logits(self, tokens: NamedArray) -> NamedArray:
        """[Batch, Pos] → [Batch, Pos, vocab] without padding: all logits at once, for generation and tests."""
        logits = hax.dot(self.hidden(tokens), self.lm_head, axis="embed")
        return logits.slice("vocab", start=0, length=self.config.vocab_size)


def _residual_depth(config: Gpt2Config) -> float:
    return (2 * config.spec.num_layers) ** 0.5


TENSORS = TensorMap(
    base="transformer.",
    lines={
        "wte": "transformer.wte.weight [vocab embed]",
        "wpe": "transformer.wpe.weight [position embed]",
        "blocks.blocks.ln_1.weight": "transformer.h.{layers}.ln_1.weight [embed]",
        "blocks.blocks.ln_1.bias": "transformer.h.{layers}.ln_1.bias [embed]",
        "blocks.blocks.attn.c_attn.weight": "transformer.h.{layers}.attn.c_attn.weight [embed (qkv heads head_size)]",
        "blocks.blocks.attn.c_attn.bias": "transformer.h.{layers}.attn.c_attn.bias [(qkv heads head_size)]",
        "blocks.blocks.attn.c_proj.weight": "transformer.h.{layers}.attn.c_proj.weight [(heads head_size) embed]",
        "blocks.blocks.attn.c_proj.bias": "transformer.h.{layers}.attn.c_proj.bias [embed]",
        "blocks.blocks.ln_2.weight": "transformer.h.{layers}.ln_2.weight [embed]",
        "blocks.blocks.ln_2.bias": "transformer.h.{layers}.ln_2.bias [embed]",
        "blocks.blocks.mlp.c_fc.weight": "transformer.h.{layers}.mlp.c_fc.weight [embed mlp]",
        "blocks.blocks.mlp.c_fc.bias": "transformer.h.{layers}.mlp.c_fc.bias [mlp]",
        "blocks.blocks.mlp.c_proj.weight": "transformer.h.{layers}.mlp.c_proj.weight [mlp embed]",
        "blocks.blocks.mlp.c_proj.bias": "transformer.h.{layers}.mlp.c_proj.bias [embed]",
        "ln_f.weight": "transformer.ln_f.weight [embed]",
        "ln_f.bias": "transformer.ln_f.bias [embed]",
    },
    tied={"lm_head.weight": "wte"},
    ignored=(r"transformer\.h\.\d+\.attn\.(masked_)?bias",),
)
"""GPT2LMHeadModel. Its linear layers are of the class Conv1D, whose weights are [in, out] as ours are."""
