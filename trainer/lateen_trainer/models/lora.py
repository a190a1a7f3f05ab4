"""LoRA: Hu et al., https://arxiv.org/abs/2106.09685. A model that stays as it is, and small matrices that are trained.

A linear layer x·W + b of a block becomes x·W + b + alpha / rank · (x·A)·B. A and B lie beside the model, not in it: so
the model's arrays keep their names, and what is trained is a tree of its own. Names and values agree with `peft`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
from haliax import Axis, NamedArray
from jax.lax import Precision
from jaxtyping import PRNGKeyArray
from lateen_api.plan.lora import RANK, LinearLayer, targeted_layers
from lateen_api.spec import LoraSpec

from lateen_trainer.models.language_model import ModelConfig, Resolve
from lateen_trainer.models.layers import dropout
from lateen_trainer.models.stack import Stack


class Adapter(eqx.Module):
    """The two matrices of a linear layer of all blocks."""

    lora_a: NamedArray  # [Layers, *In, Rank]
    lora_b: NamedArray  # [Layers, Rank, *Out]

    @staticmethod
    def init(layer: LinearLayer, rank: int, *, key: PRNGKeyArray) -> "Adapter":
        """A is uniform within ±1/√(inputs) and B is zero, as in PEFT: a new adapter changes nothing."""
        a, b = ([Axis(*axis) for axis in parameter.axes.items()] for parameter in layer.adapter(rank))
        bound = math.prod(layer.inputs.values()) ** -0.5
        return Adapter(hax.random.uniform(key, a, minval=-bound, maxval=bound), hax.zeros(b))


class LoraLinear(eqx.Module):
    """A linear layer with its adapter, in one block."""

    linear: hnn.Linear
    lora_a: NamedArray  # [*In, Rank]
    lora_b: NamedArray  # [Rank, *Out]
    key: PRNGKeyArray | None
    scale: float = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def __call__(self, x: NamedArray) -> NamedArray:
        """x: [..., In] → [..., Out]"""
        y = self.linear(x)
        inputs = [axis for axis in self.lora_a.axes if axis.name != RANK]
        low = hax.dot(dropout(x, self.dropout, key=self.key), self.lora_a, axis=inputs)
        return y + self.scale * hax.dot(low, self.lora_b, axis=RANK).rearrange(y.axes)


class AdaptedBlock(eqx.Module):
    """A block and the adapters of its linear layers."""

    block: Any
    adapters: dict[str, Adapter]


class AdaptedStack(eqx.Module):
    """A stack of blocks whose linear layers are given their adapters inside the loop."""

    stack: Stack
    adapters: dict[str, Adapter]
    key: PRNGKeyArray | None
    resolve: Resolve = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def fold(self, step: Callable[[Any, Any, jax.Array], Any], x: Any) -> Any:
        """As `Stack.fold`; the blocks are whole already when `step` is given them."""
        blocks = AdaptedBlock(self.stack.blocks, self.adapters)
        stack = Stack(blocks, self.stack.Layers, self.stack.gradient_checkpointing)

        def apply(one: AdaptedBlock, x: Any, layer: jax.Array) -> Any:
            return step(self._adapted(self.resolve(one.block), one.adapters, layer), x, layer)

        return stack.fold(apply, x)

    def _adapted(self, block: Any, adapters: dict[str, Adapter], layer: jax.Array) -> Any:
        for number, (name, adapter) in enumerate(sorted(adapters.items())):
            key = None if self.key is None else jax.random.fold_in(jax.random.fold_in(self.key, layer), number)
            adapted = LoraLinear(_at(block, name), adapter.lora_a, adapter.lora_b, key, self.scale, self.dropout)
            block = eqx.tree_at(functools.partial(_at, path=name), block, adapted)
        return block


class LoraModel(eqx.Module):
    """A language model with adapters. It is one itself."""

    base: Any
    """The model that they are for; None in what is trained, gradients and such."""

    adapters: dict[str, Adapter]
    """By the path of their layer in a block: `attn.c_attn`."""

    scale: float = eqx.field(static=True)
    """alpha / rank"""

    dropout: float = eqx.field(static=True)

    @staticmethod
    def init(base: Any, lora: LoraSpec, *, key: PRNGKeyArray) -> "LoraModel":
        """New adapters beside a model."""
        adapters = {
            layer.name: Adapter.init(layer, lora.rank, key=jax.random.fold_in(key, number))
            for number, layer in enumerate(targeted_layers(lora, base.config.spec))
        }
        return LoraModel(base, adapters, lora.alpha / lora.rank, lora.dropout)

    @property
    def config(self) -> ModelConfig:
        """The model's axes."""
        return self.base.config

    @property
    def blocks(self) -> Any:
        """The stack of layers, without adapters; None where there is no model."""
        return None if self.base is None else self.base.blocks

    @property
    def lm_head(self) -> NamedArray:
        """[Vocab, Embed]: logits are hidden · lm_headᵀ."""
        return self.base.lm_head

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
            tokens: [Batch, Pos] integers below the vocabulary's size.
            segments: [Batch, Pos] numbers of the documents in each sequence; None: a sequence is one document.
            key: for dropout, of the model and of the adapters; None: no dropout (evaluation).
            resolve: makes a block of the model whole before it is used; adapters are whole already.

        Returns:
            [Batch, Pos, Embed]
        """
        k_base, k_adapters = (None, None) if key is None else jax.random.split(key)
        stack = AdaptedStack(self.blocks, self.adapters, k_adapters, resolve, self.scale, self.dropout)
        return eqx.tree_at(lambda m: m.blocks, self.base, stack).hidden(tokens, segments=segments, key=k_base)

    def logits(self, tokens: NamedArray) -> NamedArray:
        """[Batch, Pos] → [Batch, Pos, vocab] without padding: all logits at once, for generation and tests."""
        logits = hax.dot(self.hidden(tokens), self.lm_head, axis="embed")
        return logits.slice("vocab", start=0, length=self.config.vocab_size)


def split_trained(model: Any) -> tuple[Any, Any]:
    """What of a model is trained, and the rest; the rest is None but with LoRA."""
    if not isinstance(model, LoraModel):
        return model, None
    return LoraModel(None, model.adapters, model.scale, model.dropout), model.base


def join_frozen(trained: Any, frozen: Any) -> Any:
    """The model of the two parts that `split_trained` gives."""
    if frozen is None:
        return trained
    return LoraModel(frozen, trained.adapters, trained.scale, trained.dropout)


def merged(model: Any) -> Any:
    """A model of its family with the adapters added to its weights: W + alpha / rank · A·B, in float32. A model
    without adapters is given back as it is."""
    if not isinstance(model, LoraModel):
        return model
    base = model.base
    for name, adapter in model.adapters.items():
        where = functools.partial(_weight_of, name=name)
        weight = where(base)
        add = jax.jit(_add_product, static_argnums=3, out_shardings=weight.array.sharding)
        base = eqx.tree_at(where, base, add(weight, adapter.lora_a, adapter.lora_b, model.scale))
    return base


def _add_product(weight: NamedArray, a: NamedArray, b: NamedArray, scale: float) -> NamedArray:
    product = hax.dot(a, b, axis=RANK, precision=Precision.HIGHEST)
    return (weight + scale * product.rearrange(weight.axes)).astype(weight.dtype)


def _weight_of(model: Any, name: str) -> NamedArray:
    return _at(model.blocks.blocks, name).weight


def _at(tree: Any, path: str) -> Any:
    """What lies at a path of attributes."""
    return functools.reduce(getattr, path.split("."), tree)
