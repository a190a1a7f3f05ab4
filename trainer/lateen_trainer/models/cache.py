"""Decoding with a cache of keys and values: a token is computed once, and later ones attend to what is kept of it.

A model decodes with the blocks it trains with. Its attention is a parameter of theirs (`attend`): `causal_attention`
in training, a `CachedAttention` here. `fold_cached` runs the stack with one of these for each layer.

The cache has a fixed number of slots, so that one compiled program serves every step. The token at position p is in
slot p mod slots: with as many slots as the sequence has positions each has its own, and with as many as the window
has, a token takes the place of the one that has just left it.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import haliax as hax
import jax
import jax.numpy as jnp
from haliax import Axis, NamedArray

from lateen_trainer.models.attention import causal_attention
from lateen_trainer.models.scores import expand
from lateen_trainer.models.stack import Stack


class KeyValueCache(eqx.Module):
    """Keys and values of the tokens that all sequences of a batch have so far: as many in each of them."""

    keys: NamedArray  # [layers, batch, heads, slot, head_size]
    values: NamedArray  # [layers, batch, heads, slot, head_size]
    length: jax.Array
    """Tokens so far: int32, a scalar."""

    capacity: int = eqx.field(static=True)
    """Tokens that a sequence may come to have; there are fewer slots where all layers have a shorter window."""

    @staticmethod
    def init(
        axes: tuple[Axis, Axis, Axis],
        *,
        capacity: int,
        window: int | None,
        key_size: int,
        value_size: int,
        dtype: jnp.dtype,
    ) -> "KeyValueCache":
        """An empty cache.

        Args:
            axes: layers, batch, and the heads of keys and values.
            capacity: tokens that a sequence may come to have.
            window: the longest of the layers' windows; None: some layer sees all tokens.
            key_size, value_size: of a head.
            dtype: of keys and values.
        """
        Slot = Axis("slot", capacity if window is None else min(capacity, window))
        keys, values = (hax.zeros((*axes, Slot, Axis("head_size", n)), dtype=dtype) for n in (key_size, value_size))
        return KeyValueCache(keys, values, jnp.zeros((), jnp.int32), capacity)

    @property
    def slots(self) -> int:
        """Tokens that are kept."""
        return self.keys.resolve_axis("slot").size

    def positions(self, Pos: Axis) -> NamedArray:
        """Positions of the tokens that come next: [Pos] int32."""
        return hax.arange(Pos) + self.length

    def positions_in_slots(self, length: jax.Array) -> jax.Array:
        """The position of the token in each slot when there are `length` tokens: [slot]; negative: none is."""
        return length - 1 - (length - 1 - jnp.arange(self.slots)) % self.slots

    def repeat(self, Batch: Axis) -> "KeyValueCache":
        """The cache of a batch of one sequence for a batch of equal ones."""
        keys, values = (
            hax.named(
                jnp.repeat(x.array, Batch.size, axis=1), [Batch if axis.name == "batch" else axis for axis in x.axes]
            )
            for x in (self.keys, self.values)
        )
        return KeyValueCache(keys, values, self.length, self.capacity)

    def with_first(self, layer: jax.Array, key: NamedArray, value: NamedArray, count: jax.Array) -> "KeyValueCache":
        """With the first `count` tokens of a layer: [batch, position, heads, head_size], in an empty cache."""
        places = self.positions_in_slots(count)

        def put(cache: NamedArray, new: NamedArray) -> NamedArray:
            rows = jnp.take(_by_head(new), places, axis=2, mode="clip")
            return _put(cache, rows, (layer, 0, 0, 0, 0))

        return KeyValueCache(put(self.keys, key), put(self.values, value), self.length, self.capacity)

    def with_next(self, layer: jax.Array, key: NamedArray, value: NamedArray) -> "KeyValueCache":
        """With the next token of a layer: [batch, position: 1, heads, head_size]."""
        at = (layer, 0, 0, self.length % self.slots, 0)
        keys, values = _put(self.keys, _by_head(key), at), _put(self.values, _by_head(value), at)
        return KeyValueCache(keys, values, self.length, self.capacity)

    def advanced(self, count: jax.Array | int) -> "KeyValueCache":
        """When the next `count` tokens are in all layers."""
        return KeyValueCache(self.keys, self.values, self.length + jnp.int32(count), self.capacity)


class CachedAttention:
    """`causal_attention` for one layer and the tokens that come next, called once while a program is traced.

    Args:
        cache: of all layers, with the tokens before.
        layer: number of the layer.
        count: tokens that are no filling, where several come first.
    """

    def __init__(self, cache: KeyValueCache, layer: jax.Array, count: jax.Array | int):
        self.cache = cache
        """With the keys and values of the call, afterwards."""

        self._layer, self._count = layer, count

    def __call__(
        self,
        query: NamedArray,
        key: NamedArray,
        value: NamedArray,
        *,
        scale: jax.Array | float,
        window: int | None = None,
        windowed: jax.Array | None = None,
        alibi: NamedArray | None = None,
        platform: str = "cpu",
        upcast: bool = False,
        dropout: float = 0.0,
        dropout_key: None = None,
    ) -> NamedArray:
        """See `causal_attention`. Several tokens are the first of their sequences; one is the next, wherever it is."""
        del dropout, dropout_key  # nothing is dropped
        options: dict[str, Any] = {"scale": scale, "window": window, "windowed": windowed, "alibi": alibi}
        if query.resolve_axis("position").size > 1:
            self.cache = self.cache.with_first(self._layer, key, value, jnp.int32(self._count))
            return causal_attention(query, key, value, platform=platform, upcast=upcast, **options)
        self.cache = self.cache.with_next(self._layer, key, value)
        return _attend_to_slots(self.cache, self._layer, query, upcast=upcast, **options)


def fold_cached(
    stack: Stack,
    step: Callable[[Any, NamedArray, jax.Array, CachedAttention], NamedArray],
    x: NamedArray,
    cache: KeyValueCache,
    count: jax.Array | int,
) -> tuple[NamedArray, KeyValueCache]:
    """x = step(block, x, number of the block, its attention) for one block after the other, and the cache with the
    next `count` tokens."""

    def body(block: Any, carry: tuple[NamedArray, KeyValueCache], layer: jax.Array):
        attend = CachedAttention(carry[1], layer, count)
        return step(block, carry[0], layer, attend), attend.cache

    x, cache = stack.fold(body, (x, cache))
    return x, cache.advanced(count)


def _attend_to_slots(
    cache: KeyValueCache,
    layer: jax.Array,
    query: NamedArray,
    *,
    scale: jax.Array | float,
    window: int | None,
    windowed: jax.Array | None,
    alibi: NamedArray | None,
    upcast: bool,
) -> NamedArray:
    """Attention of the next token to itself and what is kept of those before."""
    keys, values = (jax.lax.dynamic_index_in_dim(x.array, layer, keepdims=False) for x in (cache.keys, cache.values))
    if upcast:
        query, keys = query.astype(jnp.float32), keys.astype(jnp.float32)
    heads = [query.resolve_axis(name) for name in ("heads", "group") if query.has_axis(name)]
    q = (query * scale).astype(query.dtype).rearrange(("batch", *heads, "position", "head_size"))
    letters = "bhg"[: len(heads) + 1]
    scores = jnp.einsum(f"{letters}qd,bhkd->{letters}qk", q.array, keys, preferred_element_type=jnp.float32)
    places = cache.positions_in_slots(cache.length + 1)
    distance = places - cache.length
    if alibi is not None:
        slopes = alibi.broadcast_to(heads).rearrange(heads).array.astype(jnp.float32)
        scores = scores + expand(slopes, letters[1:], f"{letters}qk") * distance
    seen = places >= 0
    if window is not None:
        seen &= (-distance < window) if windowed is None else (-distance < window) | ~windowed
    weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1).astype(values.dtype)
    out = jnp.einsum(f"{letters}qk,bhkd->{letters}qd", weights, values, preferred_element_type=jnp.float32)
    return hax.named(out.astype(values.dtype), (*q.axes[:-1], cache.values.resolve_axis("head_size")))


def _by_head(x: NamedArray) -> jax.Array:
    return x.rearrange(("batch", "heads", "position", "head_size")).array


def _put(cache: NamedArray, rows: jax.Array, at: tuple) -> NamedArray:
    """The cache with rows [batch, heads, position, head_size] at a place of it."""
    updated = jax.lax.dynamic_update_slice(cache.array, rows[None].astype(cache.dtype), at)
    return hax.named(updated, cache.axes)
