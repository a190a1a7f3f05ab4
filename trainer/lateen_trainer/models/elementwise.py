"""Norms and activations with derivatives of their own, which keep little and recompute the rest.

Automatic differentiation keeps every intermediate result of these formulas, and on a CPU writing and reading them
costs more than computing them again.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from haliax import NamedArray

_SLOPE = math.sqrt(2 / math.pi)
_CUBE = 0.044715


@jax.custom_vjp
def gelu_tanh(x: jax.Array) -> jax.Array:
    """GELU in the tanh approximation (Hendrycks and Gimpel, https://arxiv.org/abs/1606.08415); keeps only x."""
    return _gelu_forward(x)[0]


def _gelu_forward(x):
    # Not a call of gelu_tanh: what a derivative is made of must have one itself (`step.derivatives`).
    return 0.5 * x * (1 + jnp.tanh(_SLOPE * (x + _CUBE * x * x * x))), x


def _gelu_backward(x, gradient):
    t = jnp.tanh(_SLOPE * (x + _CUBE * x * x * x))
    return (gradient * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _SLOPE * (1 + 3 * _CUBE * x * x)),)


gelu_tanh.defvjp(_gelu_forward, _gelu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: jax.Array, weight: jax.Array, bias: jax.Array, eps: float) -> jax.Array:
    """(x - mean) / √(variance + eps) · weight + bias over the last axis, in float32 inside.

    Keeps x, and mean and deviation of each row.
    """
    return _layer_norm_forward(x, weight, bias, eps)[0]


def _layer_norm_forward(x, weight, bias, eps):
    precise = x.astype(jnp.float32)
    mean = precise.mean(-1, keepdims=True)
    centred = precise - mean
    inverse = jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + eps)
    out = (centred * inverse).astype(x.dtype) * weight + bias
    return out, (x, mean, inverse, weight)


def _layer_norm_backward(eps, kept, gradient):
    x, mean, inverse, weight = kept
    gradient = gradient.astype(jnp.float32)
    normed = (x - mean) * inverse
    inner = gradient * weight
    dx = inverse * (inner - inner.mean(-1, keepdims=True) - normed * (inner * normed).mean(-1, keepdims=True))
    rows = tuple(range(x.ndim - 1))
    return (
        dx.astype(x.dtype),
        (gradient * normed).sum(rows).astype(weight.dtype),
        gradient.sum(rows).astype(weight.dtype),
    )


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
    """x / √(mean of x² + eps) · weight over the last axis, in float32 inside.

    Keeps x, and the deviation of each row.
    """
    return _rms_norm_forward(x, weight, eps)[0]


def _rms_norm_forward(x, weight, eps):
    precise = x.astype(jnp.float32)
    inverse = jax.lax.rsqrt((precise * precise).mean(-1, keepdims=True) + eps)
    return (precise * inverse).astype(x.dtype) * weight, (x, inverse, weight)


def _rms_norm_backward(eps, residuals, g):
    x, inverse, weight = residuals
    g = g.astype(jnp.float32)
    normed = x * inverse
    inner = g * weight
    dx = inverse * (inner - normed * (inner * normed).mean(-1, keepdims=True))
    return dx.astype(x.dtype), (g * normed).sum(tuple(range(x.ndim - 1))).astype(weight.dtype)


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def gated(activation: Callable[[NamedArray], NamedArray], gate: NamedArray, up: NamedArray) -> NamedArray:
    """activation(gate) · up, element by element (Shazeer, https://arxiv.org/abs/2002.05202); keeps gate and up."""
    return activation(gate) * up


def _gated_backward(activation, residuals, g):
    return jax.vjp(lambda gate, up: activation(gate) * up, *residuals)[1](g)


gated.defvjp(lambda activation, gate, up: (activation(gate) * up, (gate, up)), _gated_backward)
