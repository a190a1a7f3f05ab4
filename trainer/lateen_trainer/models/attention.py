"""Causal attention over named axes, by the fastest implementation that the device has."""

import haliax as hax
import jax
import jax.numpy as jnp
from haliax import NamedArray
from jaxtyping import PRNGKeyArray

from lateen_trainer.models.blockwise import blockwise_causal_attention


def causal_attention(
    query: NamedArray,
    key: NamedArray,
    value: NamedArray,
    *,
    scale: jax.Array | float,
    upcast: bool = False,
    dropout: float = 0.0,
    dropout_key: PRNGKeyArray | None = None,
) -> NamedArray:
    """softmax(scale · q kᵀ + causal mask) v, for each head (Vaswani et al., https://arxiv.org/abs/1706.03762).

    Args:
        query, key, value: [batch, position, heads, head_size]
        scale: factor of the scores; usually 1 / √head_size.
        upcast: compute the products of the scores in float32 whatever the type of the inputs.
        dropout: probability with which an attention weight is dropped; there is none without `dropout_key`.

    Returns:
        [batch, position, heads, head_size] in the inputs' type.
    """
    dtype = value.dtype
    if upcast:
        query, key, value = (x.astype(jnp.float32) for x in (query, key, value))
    query = (query * scale).astype(query.dtype)
    if dropout > 0.0 and dropout_key is not None:
        q, k, v = _heads_first(query, key, value)
        out = _with_dropout(q, k, v, dropout, dropout_key)
    elif _has_fused_kernel(query):
        heads_inside = ("batch", "position", "heads", "head_size")
        q, k, v = (x.rearrange(heads_inside).array for x in (query, key, value))
        out = jax.nn.dot_product_attention(q, k, v, scale=1.0, is_causal=True, implementation="cudnn")
        return hax.named(out, query.resolve_axis(heads_inside))
    else:
        out = blockwise_causal_attention(*_heads_first(query, key, value))
    return hax.named(out.astype(dtype), query.resolve_axis(("batch", "heads", "position", "head_size")))


def _heads_first(*arrays: NamedArray) -> tuple[jax.Array, ...]:
    return tuple(x.rearrange(("batch", "heads", "position", "head_size")).array for x in arrays)


def _has_fused_kernel(query: NamedArray) -> bool:
    """cuDNN's flash attention takes 16-bit types."""
    return jax.default_backend() == "gpu" and query.dtype in (jnp.bfloat16, jnp.float16)


def _with_dropout(q: jax.Array, k: jax.Array, v: jax.Array, dropout: float, key: PRNGKeyArray) -> jax.Array:
    """The formula as it stands, with all its weights at hand. Arrays are [batch, heads, position, head size]."""
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32)
    scores = jnp.where(jnp.tri(scores.shape[-1], dtype=bool), scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1)
    keep = jax.random.bernoulli(key, 1 - dropout, weights.shape)
    weights = jnp.where(keep, weights / (1 - dropout), 0)
    return jnp.einsum("bhqk,bhkd->bhqd", weights.astype(v.dtype), v)
