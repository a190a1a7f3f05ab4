"""Backpack: Hewitt et al., "Backpack Language Models" (2023), https://arxiv.org/abs/2305.16765.

Every token has k sense vectors that do not depend on its context, C(x)₁ … C(x)ₖ, made by a network from its embedding.
The output at position i is a sum of those of all tokens up to i, whose weights depend on the context:

    oᵢ = Σⱼ Σₗ αₗᵢⱼ C(xⱼ)ₗ        αₗ = softmax(Kₗ h · Qₗ h / √(d / k)), causal

where h is what a GPT-2 makes of the sequence and d the width. Logits are oᵢ times the embedding, so that each sense
adds to them by itself. (Levanter divides the sum by k; the paper and the published models do not.)

The weights αₗ, [position, position] for each sense, never exist as a whole: the formula is that of attention whose
heads are the senses and whose values are sense vectors, and the blockwise attention computes it.

Weights, names and values agree with the published models (`backpack-gpt2` of the authors).
"""

from dataclasses import dataclass

import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
import jax.numpy as jnp
from haliax import Axis, NamedArray
from jaxtyping import PRNGKeyArray
from lateen_api.spec import BackpackSpec

from lateen_trainer.models.attention import Attend, causal_attention
from lateen_trainer.models.cache import CachedAttention, KeyValueCache
from lateen_trainer.models.gpt2 import TENSORS as GPT2_TENSORS
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config, Mlp
from lateen_trainer.models.language_model import Resolve
from lateen_trainer.models.layers import LayerNorm, dropout, linear, unbind
from lateen_trainer.models.segments import within_segments
from lateen_trainer.models.stack import Stack
from lateen_trainer.models.tensor_map import TensorMap


@dataclass(frozen=True)
class BackpackConfig(Gpt2Config):
    """The spec of a Backpack, and its axes besides those of the GPT-2 in it."""

    spec: BackpackSpec

    Senses = property(lambda self: Axis("senses", self.spec.num_senses))
    SenseSize = property(lambda self: Axis("sense_size", self.spec.sense_size))
    SenseMlp = property(lambda self: Axis("sense_mlp", self.spec.hidden_dim * self.spec.sense_intermediate_scale))


class SenseBlock(eqx.Module):
    """norm(r + mlp(norm(r))) with r = x + residual: a block without attention."""

    ln_1: LayerNorm
    mlp: Mlp
    ln_2: LayerNorm

    @staticmethod
    def init(config: BackpackConfig, *, key: PRNGKeyArray) -> "SenseBlock":
        eps = config.spec.layer_norm_epsilon
        return SenseBlock(
            LayerNorm.init(config.Embed, eps),
            Mlp.init(config, config.Mlp, config.Embed, key=key),
            LayerNorm.init(config.Embed, eps),
        )

    def __call__(self, x: NamedArray, residual: NamedArray, pdrop: float, *, key: PRNGKeyArray | None) -> NamedArray:
        """x, residual: [..., Embed] → [..., Embed]; pdrop: probability of dropout before each addition."""
        k_x, k_mlp = (None, None) if key is None else jax.random.split(key)
        residual = residual + dropout(x, pdrop, key=k_x)
        return self.ln_2(residual + dropout(self.mlp(self.ln_1(residual)), pdrop, key=k_mlp))


class SenseNetwork(eqx.Module):
    """The sense vectors of tokens, C(x), from their embeddings alone."""

    ln: LayerNorm
    block: SenseBlock
    final_mlp: Mlp  # Embed → SenseMlp → (Senses, Embed)
    config: BackpackConfig = eqx.field(static=True)

    @staticmethod
    def init(config: BackpackConfig, *, key: PRNGKeyArray) -> "SenseNetwork":
        k_block, k_mlp = jax.random.split(key)
        return SenseNetwork(
            LayerNorm.init(config.Embed, config.spec.layer_norm_epsilon),
            SenseBlock.init(config, key=k_block),
            Mlp.init(config, config.SenseMlp, (config.Senses, config.Embed), key=k_mlp),
            config,
        )

    @jax.named_scope("senses")
    def __call__(self, x: NamedArray, *, key: PRNGKeyArray | None) -> NamedArray:
        """x: [..., Embed] embeddings of tokens → [..., Senses, Embed]"""
        spec = self.config.spec
        k_embed, k_block, k_senses = (None,) * 3 if key is None else jax.random.split(key, 3)
        x = dropout(x, spec.embed_pdrop, key=k_embed)
        x = self.block(self.ln(x), x, spec.resid_pdrop, key=k_block)
        return dropout(self.final_mlp(x), spec.resid_pdrop, key=k_senses)


class SenseWeightNet(eqx.Module):
    """Queries and keys of each sense: what its weights α are made of."""

    c_attn: hnn.Linear  # Embed → (qk, Senses, SenseSize)
    config: BackpackConfig = eqx.field(static=True)

    @staticmethod
    def init(config: BackpackConfig, *, key: PRNGKeyArray) -> "SenseWeightNet":
        Out = (Axis("qk", 2), config.Senses, config.SenseSize)
        return SenseWeightNet(linear(config.Embed, Out, std=config.spec.initializer_range, key=key), config)

    @jax.named_scope("sense_weights")
    def weighted_sum(self, contexts: NamedArray, senses: NamedArray, attend: Attend = causal_attention) -> NamedArray:
        """The sum of all senses of all tokens up to each position, weighted for its context.

        Args:
            contexts: [Batch, Pos, Embed], what GPT-2 makes of the sequence.
            senses: [Batch, Pos, Senses, Embed]

        Returns:
            [Batch, Pos, Embed]
        """
        query, key = (
            x.rename({"senses": "heads", "sense_size": "head_size"}) for x in unbind(self.c_attn(contexts), "qk")
        )
        by_sense = attend(
            query,
            key,
            senses.rename({"senses": "heads", "embed": "head_size"}),
            scale=self.config.SenseSize.size**-0.5,
            platform=self.config.platform,
            upcast=self.config.spec.upcast_attn,
        )
        return hax.sum(by_sense, "heads").rename({"head_size": "embed"})


class BackpackCache(eqx.Module):
    """What is kept of earlier tokens: for the GPT-2, and keys and vectors of the senses."""

    gpt2: KeyValueCache
    senses: KeyValueCache

    def repeat(self, Batch: Axis) -> "BackpackCache":
        """The cache of a batch of one sequence for a batch of equal ones."""
        return BackpackCache(self.gpt2.repeat(Batch), self.senses.repeat(Batch))


class Backpack(eqx.Module):
    """A GPT-2, a network that makes sense vectors, and one that makes their weights.

    The output layer is the token embedding of the GPT-2 (see `lm_head`).
    """

    gpt2_model: Gpt2
    sense_network: SenseNetwork
    sense_weight_net: SenseWeightNet
    config: BackpackConfig = eqx.field(static=True)

    @staticmethod
    def init(config: BackpackConfig, *, key: PRNGKeyArray) -> "Backpack":
        """Weights are normal with `initializerRange`; second projections of MLPs are smaller by √(2 · layers)."""
        k_gpt2, k_senses, k_weights = jax.random.split(key, 3)
        return Backpack(
            Gpt2.init(config, key=k_gpt2),
            SenseNetwork.init(config, key=k_senses),
            SenseWeightNet.init(config, key=k_weights),
            config,
        )

    @property
    def blocks(self) -> Stack:
        """The layers of the GPT-2."""
        return self.gpt2_model.blocks

    @property
    def lm_head(self) -> NamedArray:
        """[Vocab, Embed]: logits are hidden · lm_headᵀ."""
        return self.gpt2_model.lm_head

    def hidden(
        self,
        tokens: NamedArray,
        *,
        segments: NamedArray | None = None,
        key: PRNGKeyArray | None = None,
        resolve: Resolve = lambda m: m,
    ) -> NamedArray:
        """The weighted sums of sense vectors, from which `lm_head` makes logits.

        Args:
            tokens: [Batch, Pos] integers below the vocabulary's size. Pos may be shorter than the config's.
            segments: [Batch, Pos] numbers of the documents in each sequence; None: a sequence is one document.
            key: for dropout; None: no dropout (evaluation).
            resolve: makes a block whole before it is used; all other parameters are whole already.

        Returns:
            [Batch, Pos, Embed]
        """
        k_gpt2, k_senses = (None, None) if key is None else jax.random.split(key)
        contexts = self.gpt2_model.hidden(tokens, segments=segments, key=k_gpt2, resolve=resolve)
        embeddings = self.gpt2_model.wte.take("vocab", tokens).rearrange((..., "position", "embed"))

        def sum_of_senses(
            networks: tuple[SenseNetwork, SenseWeightNet], contexts: NamedArray, embeddings: NamedArray
        ) -> NamedArray:
            sense_network, sense_weight_net = networks
            senses = sense_network(embeddings, key=k_senses)
            return sense_weight_net.weighted_sum(contexts, senses, within_segments(segments))

        if self.blocks.gradient_checkpointing:
            # k sense vectors of each token, and as many sums of them, are more than all layers keep.
            sum_of_senses = jax.checkpoint(sum_of_senses)
        out = sum_of_senses((self.sense_network, self.sense_weight_net), contexts, embeddings)
        return out.rearrange((..., "position", "embed"))

    def init_cache(self, Batch: Axis, capacity: int) -> BackpackCache:
        """An empty cache for `hidden_cached` and sequences of at most `capacity` tokens."""
        config = self.config
        senses = KeyValueCache.init(
            (Axis("layers", 1), Batch, config.Senses.alias("heads")),
            capacity=capacity,
            window=None,
            key_size=config.SenseSize.size,
            value_size=config.Embed.size,
            dtype=self.lm_head.dtype,
        )
        return BackpackCache(self.gpt2_model.init_cache(Batch, capacity), senses)

    def hidden_cached(
        self, tokens: NamedArray, cache: BackpackCache, count: jax.Array | int = 1
    ) -> tuple[NamedArray, BackpackCache]:
        """`hidden` of the tokens that come behind those of a cache, and the cache with them.

        Args:
            tokens: [Batch, Pos], either the first of all, of which `count` are no filling, or the next one.
        """
        contexts, gpt2 = self.gpt2_model.hidden_cached(tokens, cache.gpt2, count)
        embeddings = self.gpt2_model.wte.take("vocab", tokens).rearrange((..., "position", "embed"))
        attend = CachedAttention(cache.senses, jnp.int32(0), count)
        out = self.sense_weight_net.weighted_sum(contexts, self.sense_network(embeddings, key=None), attend)
        return out.rearrange((..., "position", "embed")), BackpackCache(gpt2, attend.cache.advanced(count))

    def logits(self, tokens: NamedArray) -> NamedArray:
        """[Batch, Pos] → [Batch, Pos, vocab] without padding: all logits at once, for generation and tests."""
        logits = hax.dot(self.hidden(tokens), self.lm_head, axis="embed")
        return logits.slice("vocab", start=0, length=self.config.vocab_size)


_OWN = {
    "sense_network.ln.weight": "[embed]",
    "sense_network.ln.bias": "[embed]",
    "sense_network.block.ln_1.weight": "[embed]",
    "sense_network.block.ln_1.bias": "[embed]",
    "sense_network.block.mlp.c_fc.weight": "[embed mlp]",
    "sense_network.block.mlp.c_fc.bias": "[mlp]",
    "sense_network.block.mlp.c_proj.weight": "[mlp embed]",
    "sense_network.block.mlp.c_proj.bias": "[embed]",
    "sense_network.block.ln_2.weight": "[embed]",
    "sense_network.block.ln_2.bias": "[embed]",
    "sense_network.final_mlp.c_fc.weight": "[embed sense_mlp]",
    "sense_network.final_mlp.c_fc.bias": "[sense_mlp]",
    "sense_network.final_mlp.c_proj.weight": "[sense_mlp (senses embed)]",
    "sense_network.final_mlp.c_proj.bias": "[(senses embed)]",
    "sense_weight_net.c_attn.weight": "[(qk senses sense_size) embed]",
    "sense_weight_net.c_attn.bias": "[(qk senses sense_size)]",
}
"""Dimensions of the tensors of the senses, which have the names of the arrays."""

TENSORS = TensorMap(
    base="backpack.",
    lines={
        **{
            f"gpt2_model.{name}": line.replace("transformer.", "backpack.gpt2_model.", 1)
            for name, line in GPT2_TENSORS.lines.items()
        },
        **{name: f"backpack.{name} {dimensions}" for name, dimensions in _OWN.items()},
    },
    tied={
        "lm_head.weight": "gpt2_model.wte",
        "backpack.word_embeddings.weight": "gpt2_model.wte",
        "backpack.position_embeddings.weight": "gpt2_model.wpe",
    },
    ignored=(r"backpack\.gpt2_model\.h\.\d+\.attn\.(masked_)?bias",),
)
"""The authors' BackpackGPT2LMHeadModel, which is code beside the published weights and no part of transformers. Its
MLPs are of the class Conv1D, whose weights are [in, out] as ours are; `sense_weight_net` is a Linear, [out, in]."""
