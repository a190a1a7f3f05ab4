"""Causal attention block by block, for devices without a fused kernel of their own.

The scores of a head, [position, position], never exist as a whole, and what no query of a block sees is not computed:
queries are taken in blocks, each against the keys from its window's beginning up to its end. The backward pass computes
the scores again from the logarithms of their sums, by blocks of keys (Dao et al., https://arxiv.org/abs/2205.14135,
without the online softmax, since a row of scores fits).

Grouped heads (Ainslie et al., https://arxiv.org/abs/2305.13245) are an axis of the queries alone: one product of a
key head with all of its queries, so that keys are never repeated.

On XLA's CPU backend this is half again as fast as the plain formula at a context of 1,024. The products of the
backward pass are written so that the long axis comes last in their results, which that backend computes twice as fast.
"""

import functools

import jax
import jax.numpy as jnp

from lateen_trainer.models.scores import ScoreTerms, expand, forward_axes, masked_scores
from lateen_trainer.rounding import divide_rows

LEAST_BLOCK = 128
"""Queries (keys in the backward pass) in a block, at least: smaller products are slow."""

BLOCKS = 4
"""Blocks of a long context. Half of a diagonal block is computed in vain: an eighth of all with four blocks."""

MOST_BLOCKS = 16
"""Blocks of a long context with a short window: each is compiled by itself."""

NO_TERMS = ScoreTerms()


def blockwise_causal_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, terms: ScoreTerms = NO_TERMS, *, window: int | None = None
) -> jax.Array:
    """softmax(q kᵀ + terms + causal mask) v.

    Scores and softmax are computed in float32 from products of the inputs' type.

    Args:
        q: [batch, heads, position, head size] or [batch, heads, group, position, head size], already scaled.
        k, v: [batch, heads, position, head size]. That of v may be another one.
        terms: ALiBi slopes, segments, bias. A bias must leave every query a key that is not −inf.
        window: position i sees i − window + 1 … i; None: 0 … i.

    Returns:
        Like q, with v's head size, in v's type. There are derivatives with respect to all but segments.
    """
    return _attention(window, q, k, v, terms)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(window, q, k, v, terms):
    return _forward(window, q, k, v, terms)[0]


def _forward(window, q, k, v, terms):
    heads = "bhg" if q.ndim == 5 else "bh"
    scores_axes = f"{heads}qk"
    outputs, log_sums = [], []
    for start, end in _blocks(q.shape[-2], window):
        first = 0 if window is None else max(0, start - window + 1)
        keys, values = k[:, :, first:end], v[:, :, first:end]
        scores = _product(f"{heads}qd,bhkd->{scores_axes}", q[..., start:end, :], keys)
        scores = masked_scores(scores, scores_axes, (start, end), (first, end), window, terms)
        top = scores.max(-1, keepdims=True)
        exponentials = jnp.exp(scores - top)
        total = exponentials.sum(-1, keepdims=True)
        log_sums.append(top + jnp.log(total))
        output = _product(f"{scores_axes},bhkd->{heads}qd", exponentials.astype(v.dtype), values)
        outputs.append(divide_rows(output, total))
    return jnp.concatenate(outputs, -2).astype(v.dtype), jnp.concatenate(log_sums, -2)[..., 0]


def _fwd(window, q, k, v, terms):
    output, log_sums = _forward(window, q, k, v, terms)
    return output, (q, k, v, terms, output, log_sums)


def _bwd(window, residuals, g):
    q, k, v, terms, output, log_sums = residuals
    length = q.shape[-2]
    heads = "bhg" if q.ndim == 5 else "bh"
    scores_axes = heads.replace("bh", "bhk") + "q"
    of_queries = functools.partial(expand, given=f"{heads}q", axes=scores_axes)
    weighted = jnp.sum(g.astype(jnp.float32) * output, axis=-1)  # Σ over keys of weight × its gradient
    dq, dk, dv, dalibi, dbias = None, [], [], [], []
    for start, end in _blocks(length, window):
        last = length if window is None else min(length, end + window - 1)
        keys, values = k[:, :, start:end], v[:, :, start:end]
        queries, gradients = q[..., start:last, :], g[..., start:last, :]
        scores = _product(f"bhkd,{heads}qd->{scores_axes}", keys, queries)
        scores = masked_scores(scores, scores_axes, (start, last), (start, end), window, terms)
        weights = jnp.exp(scores - of_queries(log_sums[..., start:last]))
        dweights = _product(f"bhkd,{heads}qd->{scores_axes}", values, gradients)
        dscores = weights * (dweights - of_queries(weighted[..., start:last]))
        if terms.alibi is not None:
            dalibi.append(_alibi_gradient(dscores, scores_axes))
        if terms.bias is not None:
            dbias.append(_bias_gradient(dscores, scores_axes, terms.bias.shape, start))
        dscores = dscores.astype(q.dtype)
        dv.append(_product(f"{scores_axes},{heads}qd->bhkd", weights.astype(q.dtype), gradients))
        dk.append(_product(f"{scores_axes},{heads}qd->bhkd", dscores, queries))
        part = _queries_gradient(keys, dscores)
        dq = _added(dq, part, start, length)
    # Added up first and transposed then: in one loop XLA would read all parts across their rows.
    dq = jax.lax.optimization_barrier(dq)
    return (
        jnp.moveaxis(dq, 2, -1).astype(q.dtype),
        jnp.concatenate(dk, 2).astype(k.dtype),
        jnp.concatenate(dv, 2).astype(v.dtype),
        ScoreTerms(
            alibi=None if terms.alibi is None else functools.reduce(jnp.add, dalibi).astype(terms.alibi.dtype),
            bias=None if terms.bias is None else jnp.concatenate(dbias, -1).astype(terms.bias.dtype),
        ),
    )


_attention.defvjp(_fwd, _bwd)

_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _queries_gradient(keys: jax.Array, dscores: jax.Array) -> jax.Array:
    """What a block of keys adds to the gradient of its queries: [batch, heads, head size, (group,) query].

    A group's queries are one axis of the product: with two, XLA's CPU backend (jaxlib 0.10.2) compiles a product of
    bfloat16 that it cannot run ("Unsupported element type for DotThunk::Execute").

    Args:
        keys: [batch, heads, key, head size].
        dscores: [batch, heads, key, (group,) query].
    """
    queries = dscores.shape[3:]
    merged = dscores.reshape(*dscores.shape[:3], -1)
    part = _product("bhkd,bhkq->bhdq", keys, merged)
    return part.reshape(*part.shape[:3], *queries)


def _added(total: jax.Array | None, part: jax.Array, start: int, length: int) -> jax.Array:
    """total [..., length] with `part` added from `start` on; None: 0."""
    last = start + part.shape[-1]
    if total is None:
        return jnp.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, length - last)])
    return jnp.concatenate([total[..., :start], total[..., start:last] + part, total[..., last:]], -1)


def _alibi_gradient(dscores: jax.Array, axes: str) -> jax.Array:
    """What a block, whose queries and keys begin at the same position, adds to the gradient of the slopes."""
    positions = {axis: expand(jnp.arange(dscores.shape[axes.index(axis)]), axis, axes) for axis in "qk"}
    return jnp.sum(dscores * (positions["k"] - positions["q"]), axis=[axes.index(axis) for axis in "bqk"])


def _bias_gradient(dscores: jax.Array, axes: str, shape: tuple[int, ...], start: int) -> jax.Array:
    """The gradient of the bias, whose shape is given, for a block of keys and the queries from `start` on."""
    dbias = expand(dscores, axes, forward_axes(axes))
    dbias = dbias.sum([place for place, size in enumerate(shape[:-2]) if size == 1], keepdims=True)
    behind = shape[-2] - start - dbias.shape[-2]
    return jnp.pad(dbias, [(0, 0)] * (dbias.ndim - 2) + [(start, behind), (0, 0)])


def _blocks(length: int, window: int | None) -> list[tuple[int, int]]:
    size = -(-length // BLOCKS)
    if window is not None:  # a block computes its own length and the window's
        size = max(min(size, window), -(-length // MOST_BLOCKS))
    size = max(LEAST_BLOCK, size)
    return [(start, min(start + size, length)) for start in range(0, length, size)]
