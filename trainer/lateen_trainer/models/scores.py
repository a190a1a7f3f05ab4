"""What is added to attention scores, and which of them are masked, for any block of queries and keys.

Arrays are described by one letter per axis, as in einsum: b batch, h heads (those of the keys), g group (the query
heads that share one of them), q queries, k keys, d head size.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class ScoreTerms(NamedTuple):
    """All that changes the scores besides the causal mask and the window. Each of it may be missing."""

    alibi: jax.Array | None = None
    """[h] or, with grouped heads, [h, g]: slopes m; key j's score for query i gets m · (j − i)
    (Press et al., https://arxiv.org/abs/2108.12409)."""

    segments: jax.Array | None = None
    """[b, q] integers: a position sees only those of its own segment."""

    bias: jax.Array | None = None
    """[b, h, q, k] or, with grouped heads, [b, h, g, q, k], all but the last two may be 1."""


def masked_scores(
    scores: jax.Array,
    axes: str,
    queries: tuple[int, int],
    keys: tuple[int, int],
    window: int | None,
    terms: ScoreTerms,
) -> jax.Array:
    """Scores of a block with all terms added; −inf where a query does not see a key.

    Args:
        scores: float32, with the axes b, h, q, k (and g) in any order.
        axes: their order, as "bhqk".
        queries, keys: [start, end) of the block's positions.
        window: position i sees i − window + 1 … i; None: 0 … i.
    """
    i = expand(jnp.arange(*queries), "q", axes)
    j = expand(jnp.arange(*keys), "k", axes)
    if terms.alibi is not None:
        slopes = expand(terms.alibi.astype(jnp.float32), "hg"[: terms.alibi.ndim], axes)
        scores = scores + slopes * (j - i)
    if terms.bias is not None:
        bias = terms.bias[..., slice(*queries), slice(*keys)].astype(jnp.float32)
        scores = scores + expand(bias, forward_axes(axes), axes)
    seen = i >= j
    if window is not None:
        seen &= i - j < window
    if terms.segments is not None:
        of_queries, of_keys = (terms.segments[:, slice(*positions)] for positions in (queries, keys))
        seen &= expand(of_queries, "bq", axes) == expand(of_keys, "bk", axes)
    return jnp.where(seen, scores, -jnp.inf)


def expand(x: jax.Array, given: str, axes: str) -> jax.Array:
    """x, whose axes are `given`, with its axes in the order of `axes`, and length 1 along those that it lacks."""
    x = x.transpose([given.index(axis) for axis in axes if axis in given])
    return jnp.expand_dims(x, [place for place, axis in enumerate(axes) if axis not in given])


def forward_axes(axes: str) -> str:
    """The axes of scores in the order of the formula: bhqk or bhgqk."""
    return "bhgqk" if "g" in axes else "bhqk"
