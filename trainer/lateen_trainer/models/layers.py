"""Layers that the architectures share."""

from collections.abc import Callable

import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
import jax.numpy as jnp
from haliax import Axis, AxisSpec, NamedArray
from jaxtyping import PRNGKeyArray

from lateen_trainer.models.elementwise import gated, gelu_tanh, layer_norm, rms_norm


def _gelu_exact(x: NamedArray) -> NamedArray:
    return hnn.gelu(x, approximate=False)


def _gelu_tanh(x: NamedArray) -> NamedArray:
    return hax.named(gelu_tanh(x.array), x.axes)


ACTIVATIONS: dict[str, Callable[[NamedArray], NamedArray]] = {
    "gelu_new": _gelu_tanh,
    "gelu": _gelu_exact,
    "relu": hnn.relu,
    "silu": hnn.silu,
    "quick_gelu": hnn.quick_gelu,
}
"""Activations by their names in Hugging Face configurations."""


class LayerNorm(eqx.Module):
    """(x - mean) / √(var + eps) · weight + bias over one axis: Ba et al., https://arxiv.org/abs/1607.06450.

    Statistics are computed in float32 whatever the type of x.
    """

    weight: NamedArray  # [axis]
    bias: NamedArray  # [axis]
    axis: Axis = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    @staticmethod
    def init(axis: Axis, eps: float) -> "LayerNorm":
        return LayerNorm(hax.ones(axis), hax.zeros(axis), axis, eps)

    def __call__(self, x: NamedArray) -> NamedArray:
        x = x.rearrange((..., self.axis))
        return hax.named(layer_norm(x.array, self.weight.array, self.bias.array, self.eps), x.axes)


class RmsNorm(eqx.Module):
    """x / √(mean of x² + eps) · weight over one axis: Zhang and Sennrich, https://arxiv.org/abs/1910.07467.

    The mean is computed in float32 whatever the type of x.
    """

    weight: NamedArray  # [axis]
    axis: Axis = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    @staticmethod
    def init(axis: Axis, eps: float) -> "RmsNorm":
        return RmsNorm(hax.ones(axis), axis, eps)

    def __call__(self, x: NamedArray) -> NamedArray:
        x = x.rearrange((..., self.axis))
        return hax.named(rms_norm(x.array, self.weight.array, self.eps), x.axes)


class GatedMlp(eqx.Module):
    """down(activation(gate(x)) · up(x)): SwiGLU and its relatives (Shazeer, https://arxiv.org/abs/2002.05202)."""

    gate_proj: hnn.Linear  # Embed → Mlp
    up_proj: hnn.Linear  # Embed → Mlp
    down_proj: hnn.Linear  # Mlp → Embed
    activation: str = eqx.field(static=True)

    @staticmethod
    def init(Embed: Axis, Mlp: Axis, activation: str, *, std: float, bias: bool, key: PRNGKeyArray) -> "GatedMlp":
        """Weights are normal with the given standard deviation; `bias`: whether the three projections have one."""
        k_gate, k_up, k_down = jax.random.split(key, 3)
        return GatedMlp(
            linear(Embed, Mlp, std=std, bias=bias, key=k_gate),
            linear(Embed, Mlp, std=std, bias=bias, key=k_up),
            linear(Mlp, Embed, std=std, bias=bias, key=k_down),
            activation,
        )

    def __call__(self, x: NamedArray) -> NamedArray:
        """x: [..., Embed] → [..., Embed]"""
        return self.down_proj(gated(ACTIVATIONS[self.activation], self.gate_proj(x), self.up_proj(x)))


def linear(In: AxisSpec, Out: AxisSpec, *, std: float, key: PRNGKeyArray, bias: bool = True) -> hnn.Linear:
    """A linear layer with normal weights of the given standard deviation, and zero bias if any."""
    layer = hnn.Linear.init(In, Out, key=key, out_first=False, use_bias=bias)
    weight = hax.random.normal(key, layer.weight.axes) * std
    return eqx.tree_at(lambda m: m.weight, layer, weight)


def unbind(x: NamedArray, axis: str) -> tuple[NamedArray, ...]:
    """The slices of x along an axis, without it.

    NamedArray.unbind gives the same, but its derivative scatters every slice into zeros and adds them up; the
    derivative of this one is a concatenation.
    """
    size = x.resolve_axis(axis).size
    place = [named.name for named in x.axes].index(axis)
    rest = (*x.axes[:place], *x.axes[place + 1 :])
    return tuple(hax.named(jnp.squeeze(part, place), rest) for part in jnp.split(x.array, size, axis=place))


def dropout(x: NamedArray, pdrop: float, *, key: PRNGKeyArray | None) -> NamedArray:
    """Drops elements with probability `pdrop` and scales the others up; without a key it does nothing."""
    if key is None or pdrop == 0.0:
        return x
    keep = hax.random.bernoulli(key, x.axes, 1 - pdrop)
    return hax.where(keep, x / (1 - pdrop), 0).astype(x.dtype)


def cast(tree, dtype: jnp.dtype):
    """All floating-point arrays of a pytree in another type."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
