"""Attention kernels of GPUs and TPUs, each compiled as a whole.

Arrays are as in `blockwise`: q [batch, heads, (group,) position, head size], already scaled; k and v without group.
"""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import (
    CausalMask,
    LocalMask,
    MultiHeadMask,
    SegmentIds,
    make_splash_mha_single_device,
    make_splash_mqa_single_device,
)

from lateen_trainer.models.scores import ScoreTerms, expand, forward_axes

CUDNN_HEAD_SIZES = range(8, 129, 8)
"""Head sizes that cuDNN's kernels take on every GPU."""

SPLASH_BLOCK = 128
"""Splash attention takes contexts that are multiples of this many positions (the lanes of a TPU's vector unit)."""


def cudnn_takes(dtype: jnp.dtype, length: int, head_size: int, terms: ScoreTerms) -> bool:
    """Does cuDNN have a kernel for this type, shape and these terms? The terms make a bias, and those come in pairs."""
    is_narrow = dtype in (jnp.bfloat16, jnp.float16)
    has_bias = any(term is not None for term in terms)
    return is_narrow and head_size in CUDNN_HEAD_SIZES and not (has_bias and length % 2)


def splash_takes(length: int, terms: ScoreTerms) -> bool:
    """Does splash attention have a kernel for this length and these terms? It masks scores and adds nothing to them."""
    return length % SPLASH_BLOCK == 0 and terms.alibi is None and terms.bias is None


def cudnn_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, terms: ScoreTerms, *, window: int | None = None
) -> jax.Array:
    """cuDNN's flash attention, which skips what the causal mask and the window hide.

    Segments and ALiBi reach it as a bias in the inputs' type, [batch or 1, query heads or 1, position, position]: it
    has neither of its own. That bias is the one array here that grows with the square of the context.
    """
    batch_first = lambda x: x.reshape(x.shape[0], -1, *x.shape[-2:]).swapaxes(1, 2)  # noqa: E731
    out = jax.nn.dot_product_attention(
        batch_first(q),
        batch_first(k),
        batch_first(v),
        bias=_whole_bias(q, terms),
        mask=_segment_mask(terms.segments),
        scale=1.0,
        is_causal=True,
        local_window_size=None if window is None else (window - 1, 0),
        implementation="cudnn",
    )
    return out.swapaxes(1, 2).reshape(q.shape)


def _whole_bias(q: jax.Array, terms: ScoreTerms) -> jax.Array | None:
    """[1 or batch, 1 or query heads, position, position] in q's type: bias and ALiBi; None: there are neither."""
    axes = forward_axes("bhgqk" if q.ndim == 5 else "bhqk")
    total = terms.bias
    if terms.alibi is not None:
        position = jnp.arange(q.shape[-2])
        distance = expand(position, "k", axes) - expand(position, "q", axes)
        slopes = expand(terms.alibi.astype(jnp.float32), "hg"[: terms.alibi.ndim], axes)
        total = slopes * distance + (0 if total is None else total)
    if total is None:
        return None
    if total.ndim == 5:
        batch, heads, group, *positions = total.shape
        if 1 in (heads, group) and (heads, group) != (1, 1):
            heads, group = q.shape[1:3]
        total = jnp.broadcast_to(total, (batch, heads, group, *positions)).reshape(batch, -1, *positions)
    return total.astype(q.dtype)


def _segment_mask(segments: jax.Array | None) -> jax.Array | None:
    """[batch, 1, position, position] truth values."""
    return None if segments is None else (segments[:, :, None] == segments[:, None, :])[:, None]


def splash_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    terms: ScoreTerms,
    *,
    window: int | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Pallas's splash attention for TPUs, which skips blocks that the causal mask and the window hide.

    A key head with its group of queries is its multi-query kernel. `interpret`: on any device, slowly.
    """
    length = q.shape[-2]
    if window is None:
        mask = CausalMask((length, length))
    else:
        mask = LocalMask((length, length), window_size=(window - 1, 0), offset=0)
    is_grouped = q.ndim == 5
    make = make_splash_mqa_single_device if is_grouped else make_splash_mha_single_device
    kernel = cast(Callable, make(MultiHeadMask([mask] * q.shape[-3]), interpret=interpret))

    def of_sequence(q, k, v, segments):
        ids = None if segments is None else SegmentIds(segments, segments)
        attend = lambda q, k, v: kernel(q, k, v, segment_ids=ids)  # noqa: E731
        return jax.vmap(attend)(q, k, v) if is_grouped else attend(q, k, v)

    return jax.vmap(of_sequence)(q, k, v, terms.segments)
