"""Causal attention over named axes, by the fastest implementation that the device has."""

import haliax as hax
import jax
import jax.numpy as jnp
from haliax import Axis, AxisSelector, NamedArray
from jaxtyping import PRNGKeyArray


def causal_attention(
    query: NamedArray,
    key: NamedArray,
    value: NamedArray,
    *,
    Pos: AxisSelector,
    Heads: AxisSelector,
    HeadSize: AxisSelector,
    scale: jax.Array | float,
    upcast: bool = False,
    dropout: float = 0.0,
    dropout_key: PRNGKeyArray | None = None,
) -> NamedArray:
    """softmax(scale · q kᵀ + causal mask) v, for each head (Vaswani et al., https://arxiv.org/abs/1706.03762).

    Args:
        query, key, value: [Batch, Pos, Heads, HeadSize]
        scale: factor of the scores; usually 1 / √HeadSize.
        upcast: compute scores and softmax in float32 whatever the type of the inputs.
        dropout: probability with which an attention weight is dropped; needs `dropout_key`.

    Returns:
        [Batch, Pos, Heads, HeadSize] in the inputs' type.
    """
    (Batch,) = (axis for axis in query.axes if axis not in query.resolve_axis((Pos, Heads, HeadSize)))
    order = (Batch.name, hax.axis_name(Pos), hax.axis_name(Heads), hax.axis_name(HeadSize))
    q, k, v = (x.rearrange(order).array for x in (query * scale, key, value))
    if dropout > 0.0 and dropout_key is not None:
        out = _plain(q, k, v, upcast=upcast, dropout=dropout, dropout_key=dropout_key)
    elif jax.default_backend() == "gpu" and not upcast and q.dtype in (jnp.bfloat16, jnp.float16):
        out = jax.nn.dot_product_attention(q, k, v, scale=1.0, is_causal=True, implementation="cudnn")
    else:
        out = _plain(q, k, v, upcast=upcast)
    return hax.named(out, tuple(query.resolve_axis(name) for name in order))


def _plain(q, k, v, *, upcast: bool, dropout: float = 0.0, dropout_key: PRNGKeyArray | None = None) -> jax.Array:
    """The formula as it stands. Arrays are [batch, position, heads, head size]; q is already scaled."""
    precise = jnp.float32 if upcast else q.dtype
    scores = jnp.einsum("bqhd,bkhd->bhqk", q.astype(precise), k.astype(precise))
    length = scores.shape[-1]
    scores = jnp.where(jnp.tri(length, dtype=bool), scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores.astype(jnp.float32), axis=-1).astype(v.dtype)
    if dropout_key is not None:
        keep = jax.random.bernoulli(dropout_key, 1 - dropout, weights.shape)
        weights = jnp.where(keep, weights / (1 - dropout), 0).astype(v.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)
