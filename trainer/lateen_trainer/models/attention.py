"""Causal attention over named axes, by the fastest implementation that the device has.

| devices | implementation | what it does not take, which the blockwise one computes there |
|---|---|---|
| GPU | cuDNN's flash attention | 32-bit types; head sizes that are no multiple of 8 or above 128 |
| TPU | Pallas's splash attention | contexts that are no multiple of 128; ALiBi and other biases |
| CPU | blockwise (`blockwise`) | |

With dropout of attention weights it is the plain formula on all of them. Where values are wider than queries and keys
(`backpack`), it is the blockwise one.

A fused kernel is opaque to XLA's partitioner, so it is called where every axis of the mesh is manual: heads are
divided over the model axis, each device computing its own.
"""

import functools
from collections.abc import Callable

import haliax as hax
import jax
import jax.numpy as jnp
from haliax import NamedArray
from jax.sharding import PartitionSpec
from jaxtyping import PRNGKeyArray

from lateen_trainer.mesh import MODEL
from lateen_trainer.models.blockwise import blockwise_causal_attention
from lateen_trainer.models.fused import cudnn_attention, cudnn_takes, splash_attention, splash_takes
from lateen_trainer.models.scores import ScoreTerms, masked_scores

Attend = Callable[..., NamedArray]
"""`causal_attention`, or what has its arguments and computes the same from a cache of earlier tokens."""


def causal_attention(
    query: NamedArray,
    key: NamedArray,
    value: NamedArray,
    *,
    scale: jax.Array | float,
    window: int | None = None,
    windowed: jax.Array | None = None,
    alibi: NamedArray | None = None,
    segments: NamedArray | None = None,
    bias: NamedArray | None = None,
    platform: str = "cpu",
    upcast: bool = False,
    dropout: float = 0.0,
    dropout_key: PRNGKeyArray | None = None,
) -> NamedArray:
    """softmax(scale · q kᵀ + bias + causal mask) v, for each head (Vaswani et al., https://arxiv.org/abs/1706.03762).

    Query heads may share heads of keys and values (Ainslie et al., https://arxiv.org/abs/2305.13245): a query has
    then the axis "group" besides "heads", and its head h · group + g, counted as `transformers` does, attends to key
    head h.

    Args:
        query: [batch, position, heads, head_size], or with group.
        key, value: [batch, position, heads, head_size]. Values may have another head_size than queries and keys.
        scale: factor of the scores; usually 1 / √head_size.
        window: position i sees i − window + 1 … i (sliding window attention); None: 0 … i.
        windowed: a scalar truth value: has this layer the window? For stacks in which some layers have it and others
            see all: only what the layer needs is computed. None: it has.
        alibi: slopes m, [heads] or [heads, group]: m · (j − i) is added to the score of key j for query i (Press et
            al., https://arxiv.org/abs/2108.12409).
        segments: [batch, position] integers, as of packed documents: a position sees only those of its own segment.
        bias: added to the scores: [position, key_position] and any of batch, heads, group. It must leave every query a
            key that it sees and whose bias is finite.
        platform: of the devices that the program is compiled for, as `jax.Device.platform` names it. Not that of this
            process's devices: a program can be compiled for others.
        upcast: compute the products of the scores in float32 whatever the type of the inputs.
        dropout: probability with which an attention weight is dropped; there is none without `dropout_key`.

    Returns:
        Like query, with value's head_size, in the inputs' type; the axes are batch, heads, group if there is one,
        position, head_size.
    """
    dtype = value.dtype
    if upcast:
        query, key, value = (x.astype(jnp.float32) for x in (query, key, value))
    query = (query * scale).astype(query.dtype)
    axes = ("batch", "heads", "group", "position", "head_size")
    if not query.has_axis("group"):
        axes = ("batch", "heads", "position", "head_size")
    q = query.rearrange(axes).array
    k, v = (x.rearrange(("batch", "heads", "position", "head_size")).array for x in (key, value))
    terms = _terms(query, alibi, segments, bias)
    if dropout > 0.0 and dropout_key is not None:
        attend = functools.partial(_with_dropout, dropout=dropout, key=dropout_key)
    else:
        attend = _implementation(q, v, terms, platform)
    out = _with_window(attend, window, windowed)(q, k, v, terms)
    return hax.named(out.astype(dtype), (*query.resolve_axis(axes[:-1]), value.resolve_axis("head_size")))


def _terms(
    query: NamedArray, alibi: NamedArray | None, segments: NamedArray | None, bias: NamedArray | None
) -> ScoreTerms:
    """The terms as arrays; ALiBi's slopes and the bias have the query's group."""
    heads = [query.resolve_axis(name) for name in ("heads", "group") if query.has_axis(name)]
    return ScoreTerms(
        alibi=None if alibi is None else alibi.broadcast_to(heads).rearrange(heads).array,
        segments=None if segments is None else segments.rearrange(("batch", "position")).array,
        bias=None if bias is None else _with_all_axes(bias, ["batch", *(axis.name for axis in heads)]),
    )


def _with_all_axes(bias: NamedArray, axes: list[str]) -> jax.Array:
    """The bias as [*axes, position, key_position], with length 1 along the axes that it lacks."""
    axes = [*axes, "position", "key_position"]
    array = bias.rearrange([name for name in axes if bias.has_axis(name)]).array
    return jnp.expand_dims(array, [place for place, name in enumerate(axes) if not bias.has_axis(name)])


def _with_window(attend: Callable, window: int | None, windowed: jax.Array | None) -> Callable:
    """The implementation with the window in it, or with and without for a layer that says which."""
    inside = functools.partial(attend, window=window)
    if window is None or windowed is None:
        return inside
    return functools.partial(jax.lax.cond, windowed, inside, attend)


def _implementation(q: jax.Array, v: jax.Array, terms: ScoreTerms, platform: str) -> Callable:
    """A function of q, k, v and terms, and of `window` by name."""
    length, head_size = q.shape[-2:]
    if v.shape[-1] != head_size:  # no kernel is known to take it
        return blockwise_causal_attention
    if MODEL not in jax.sharding.get_abstract_mesh().axis_names:  # generation: the partitioner would meet the kernel
        return blockwise_causal_attention
    if platform == "gpu" and cudnn_takes(q.dtype, length, head_size, terms):
        return _over_heads(cudnn_attention, q.shape[1], terms)
    if platform == "tpu" and splash_takes(length, terms):
        return _over_heads(splash_attention, q.shape[1], terms)
    return blockwise_causal_attention


def _over_heads(kernel: Callable, heads: int, terms: ScoreTerms) -> Callable:
    """The kernel where the model axis is manual too, each device with its own heads if they can be divided."""
    mesh = jax.sharding.get_abstract_mesh()
    if MODEL in mesh.manual_axes:
        return kernel
    divided = MODEL if heads % mesh.shape[MODEL] == 0 else None
    spec = PartitionSpec(None, divided)
    of_bias = spec if terms.bias is not None and terms.bias.shape[1] > 1 else PartitionSpec()
    of_terms = zip(terms, (PartitionSpec(divided), PartitionSpec(), of_bias), strict=True)
    in_specs = (spec, spec, spec, ScoreTerms._make(None if term is None else spec for term, spec in of_terms))

    def over_heads(q, k, v, terms, *, window=None):
        return jax.shard_map(
            functools.partial(kernel, window=window),
            in_specs=in_specs,
            out_specs=spec,
            axis_names={MODEL},
            check_vma=False,
        )(q, k, v, terms)

    return over_heads


def _with_dropout(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    terms: ScoreTerms,
    *,
    window: int | None = None,
    dropout: float,
    key: PRNGKeyArray,
) -> jax.Array:
    """The formula as it stands, with all its weights at hand. Arrays are as in `blockwise`."""
    heads, positions = "bhg" if q.ndim == 5 else "bh", (0, q.shape[-2])
    scores = jnp.einsum(f"{heads}qd,bhkd->{heads}qk", q, k, preferred_element_type=jnp.float32)
    scores = masked_scores(scores, f"{heads}qk", positions, positions, window, terms)
    weights = jax.nn.softmax(scores, axis=-1)
    keep = jax.random.bernoulli(key, 1 - dropout, weights.shape)
    weights = jnp.where(keep, weights / (1 - dropout), 0)
    return jnp.einsum(f"{heads}qk,bhkd->{heads}qd", weights.astype(v.dtype), v)
