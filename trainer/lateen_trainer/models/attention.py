"""Causal attention over named axes, by the fastest implementation that the device has.

A fused kernel is opaque to XLA's partitioner, so it is called where every axis of the mesh is manual: heads are
divided over the model axis, each device computing its own.
"""

from collections.abc import Callable
from typing import cast

import haliax as hax
import jax
import jax.numpy as jnp
from haliax import NamedArray
from jax.experimental.pallas.ops.tpu.splash_attention import CausalMask, MultiHeadMask, make_splash_mha_single_device
from jax.sharding import PartitionSpec
from jaxtyping import PRNGKeyArray

from lateen_trainer.mesh import MODEL
from lateen_trainer.models.blockwise import blockwise_causal_attention

SPLASH_BLOCK = 128
"""Splash attention takes contexts that are multiples of this many positions (the lanes of a TPU's vector unit)."""


def causal_attention(
    query: NamedArray,
    key: NamedArray,
    value: NamedArray,
    *,
    scale: jax.Array | float,
    platform: str = "cpu",
    upcast: bool = False,
    dropout: float = 0.0,
    dropout_key: PRNGKeyArray | None = None,
) -> NamedArray:
    """softmax(scale · q kᵀ + causal mask) v, for each head (Vaswani et al., https://arxiv.org/abs/1706.03762).

    Args:
        query, key, value: [batch, position, heads, head_size]
        scale: factor of the scores; usually 1 / √head_size.
        platform: of the devices that the program is compiled for, as `jax.Device.platform` names it. Not that of this
            process's devices: a program can be compiled for others.
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
    else:
        out = _implementation(query, platform)(*_heads_first(query, key, value))
    return hax.named(out.astype(dtype), query.resolve_axis(("batch", "heads", "position", "head_size")))


def _heads_first(*arrays: NamedArray) -> tuple[jax.Array, ...]:
    return tuple(x.rearrange(("batch", "heads", "position", "head_size")).array for x in arrays)


def _implementation(query: NamedArray, platform: str) -> Callable:
    """A function of q (scaled), k and v, all [batch, heads, position, head size]."""
    if MODEL not in jax.sharding.get_abstract_mesh().axis_names:  # generation: the partitioner would meet the kernel
        return blockwise_causal_attention
    if platform == "gpu" and query.dtype in (jnp.bfloat16, jnp.float16):  # cuDNN takes 16-bit types
        return _over_heads(_cudnn, query.resolve_axis("heads").size)
    if platform == "tpu" and query.resolve_axis("position").size % SPLASH_BLOCK == 0:
        return _over_heads(_splash, query.resolve_axis("heads").size)
    return blockwise_causal_attention


def _over_heads(kernel: Callable, heads: int) -> Callable:
    """The kernel where the model axis is manual too, each device with its own heads if they can be divided."""
    mesh = jax.sharding.get_abstract_mesh()
    if MODEL in mesh.manual_axes:
        return kernel
    spec = PartitionSpec(None, MODEL if heads % mesh.shape[MODEL] == 0 else None)
    return jax.shard_map(kernel, in_specs=(spec,) * 3, out_specs=spec, axis_names={MODEL}, check_vma=False)


def _cudnn(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    out = jax.nn.dot_product_attention(q, k, v, scale=1.0, is_causal=True, implementation="cudnn")
    return out.swapaxes(1, 2)


def _splash(q: jax.Array, k: jax.Array, v: jax.Array, *, interpret: bool = False) -> jax.Array:
    """Pallas's kernel for TPUs, which skips what lies above the diagonal. `interpret`: on any device, slowly."""
    heads, length = q.shape[1:3]
    mask = MultiHeadMask([CausalMask((length, length))] * heads)
    kernel = cast(Callable, make_splash_mha_single_device(mask, interpret=interpret))
    return jax.vmap(kernel)(q, k, v)


def _with_dropout(q: jax.Array, k: jax.Array, v: jax.Array, dropout: float, key: PRNGKeyArray) -> jax.Array:
    """The formula as it stands, with all its weights at hand. Arrays are [batch, heads, position, head size]."""
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32)
    scores = jnp.where(jnp.tri(scores.shape[-1], dtype=bool), scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1)
    keep = jax.random.bernoulli(key, 1 - dropout, weights.shape)
    weights = jnp.where(keep, weights / (1 - dropout), 0)
    return jnp.einsum("bhqk,bhkd->bhqd", weights.astype(v.dtype), v)
