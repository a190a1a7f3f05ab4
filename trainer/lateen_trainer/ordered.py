"""Sums whose bits do not depend on how many devices share the work.

Floating-point addition is not associative, and the collectives of a backend add in an order of their own. Here every
sum is one binary tree over numbered parts (lanes of a batch, stretches of a parameter), the same tree for every power
of two of devices: each device adds the subtrees that it holds, and only then do the devices exchange anything.
"""

import enum
import math
from collections.abc import Callable, Collection, Sequence

import haliax as hax
import jax
import jax.numpy as jnp
from haliax import NamedArray
from jax.sharding import PartitionSpec

from lateen_trainer.mesh import DATA, ShardingRules
from lateen_trainer.rounding import prevent_fma

FAN_IN = 32
"""Parts of an array that are added at once. With fewer, XLA for CPU fuses one level of the tree with the next, which
is slow; with more, the program grows."""


class TreeOrder(enum.Enum):
    """Which numbers a binary tree joins first."""

    NEIGHBOURS = enum.auto()
    """Those that differ in their lowest bit."""

    HALVES = enum.auto()
    """Those that differ in their highest bit."""


def tree_reduce(parts: Sequence[jax.Array], order: TreeOrder) -> jax.Array:
    """The sum of a power of two of arrays of one shape."""
    parts = list(parts)
    while len(parts) > 1:
        half = len(parts) // 2
        pairs = zip(parts[:half], parts[half:], strict=True)
        if order is TreeOrder.NEIGHBOURS:
            pairs = zip(parts[0::2], parts[1::2], strict=True)
        parts = [left + right for left, right in pairs]
    return parts[0]


def tree_reduce_over_time(function: Callable, inputs, count: int, order: TreeOrder):
    """Σ function(inputs[0]), function(inputs[1]), … as a binary tree, one after the other.

    The tree is a nest of loops of two trips, so that `function` is compiled once and log2(count) sums are held.

    Args:
        function: of one slice of `inputs`; gives a pytree of floating-point arrays.
        inputs: pytree of arrays [count, …].
        count: a power of two.
    """
    levels = count.bit_length() - 1
    shape = jax.eval_shape(function, jax.tree.map(lambda x: x[0], inputs))
    # -0 is what can be added to any number without changing a bit of it; +0 would turn -0 into itself.
    zero = jax.tree.map(lambda s: jnp.full(s.shape, -0.0, s.dtype), shape)

    def nest(levels: int, inputs):
        if levels == 0:
            return function(inputs)

        def add(total, inputs):
            return jax.tree.map(jnp.add, total, nest(levels - 1, inputs)), None

        return jax.lax.scan(add, zero, inputs)[0]

    def by_bits(x: jax.Array) -> jax.Array:
        """[count, …] → [2, 2, …], the bit that the outermost loop counts first."""
        bits = x.reshape((2,) * levels + x.shape[1:])
        if order is TreeOrder.HALVES:
            bits = bits.transpose((*reversed(range(levels)), *range(levels, bits.ndim)))
        return bits

    return nest(levels, jax.tree.map(by_bits, inputs))


def sum_over_data(array: jax.Array, axis: int | None, rules: ShardingRules, order: TreeOrder) -> jax.Array:
    """The float32 sum over the data axis, inside shard_map: whole, or this device's part along `axis`."""
    size = rules.data_size
    if size == 1:
        return array.astype(jnp.float32)
    if axis is None:
        parts = [part[0] for part in jnp.split(jax.lax.all_gather(array, DATA), size)]
    else:
        parts = jnp.split(jax.lax.all_to_all(array, DATA, axis, axis, tiled=True), size, axis)
    return tree_reduce([part.astype(jnp.float32) for part in parts], order)


def global_norm(tree, rules: ShardingRules) -> jax.Array:
    """√ of the sum of squares of NamedArrays divided by `rules`, inside shard_map over `data`.

    Each parameter is taken in the chunks into which it can be divided at the greatest width. In which order XLA adds
    up the numbers of an array depends on its shape and on what it is fused with, so that is not left to it.
    """
    total = jnp.float32(0)
    for leaf in jax.tree.leaves(tree, is_leaf=hax.util.is_named_array):
        axis, chunks = rules.divisible_axis(leaf.axes), 1
        if axis is not None:
            chunks = rules.parts(leaf.axes[axis])
        divided = rules.data_axis(leaf.axes) is not None
        # What lies on the model axis last, when little is left that has to be sent.
        order = sorted(range(len(leaf.axes)), key=lambda i: leaf.axes[i].name in rules.tensor_axes)
        sums = _sums_of_squares(leaf.array, axis or 0, chunks // rules.data_size if divided else chunks, order)
        if divided:
            sums = jax.lax.all_gather(sums, DATA, tiled=True)
        total = total + tree_reduce(list(sums), TreeOrder.NEIGHBOURS)
    return jnp.sqrt(total)


def sum_of_squares(array: jax.Array) -> jax.Array:
    """The sum of the squares of all numbers of an array that is not divided: a float32 scalar."""
    return _sums_of_squares(array, 0, 1, range(array.ndim))[0]


def mean_of_squares(array: NamedArray, over: Collection[str], rules: ShardingRules, offset: float = 0.0) -> NamedArray:
    """The mean along the named axes `over` of the array's squares, `offset` added to each. float32, without these axes.

    Args:
        array: divided by `rules`, outside shard_map.
    """
    squares = jnp.square(array.array)
    squares = prevent_fma(squares, squares) + offset
    return mean_over(NamedArray(squares, array.axes), over, rules)


def mean_over(array: NamedArray, over: Collection[str], rules: ShardingRules) -> NamedArray:
    """The mean along the named axes `over` of numbers that are not negative, without these axes.

    As in `global_norm`, an axis that is divided over `data` is taken in the chunks of the greatest width.

    Args:
        array: divided by `rules`, outside shard_map.
    """
    axes = array.axes
    axis, is_divided = rules.divisible_axis(axes), rules.data_axis(axes) is not None
    is_summed = axis is not None and axes[axis].name in over
    summed = [i for i in range(len(axes)) if axes[i].name in over]
    # What lies on the model axis last, when little is left that has to be sent.
    summed.sort(key=lambda i: axes[i].name in rules.tensor_axes)
    kept = tuple(named for named in axes if named.name not in over)

    def on_device(x: jax.Array) -> jax.Array:
        place = 0 if axis is None else axis
        chunks = 1
        if is_summed:
            chunks = rules.parts(axes[place]) // (rules.data_size if is_divided else 1)
        x = x.reshape(*x.shape[:place], chunks, x.shape[place] // chunks, *x.shape[place + 1 :])
        for i in summed:
            x = _folded(x, i if i < place else i + 1)
        if is_summed:
            x = jax.lax.all_gather(x, DATA, axis=place, tiled=True) if is_divided else x
            x = _folded(x, place)
        return x.reshape([length for i, length in enumerate(_without(x.shape, place)) if i not in summed])

    out_axis = kept.index(axes[axis]) if axis is not None and is_divided and not is_summed else None
    sums = jax.shard_map(
        on_device,
        mesh=rules.mesh,
        in_specs=rules.data_spec(axes),
        out_specs=PartitionSpec(*(DATA if i == out_axis else None for i in range(len(kept)))),
        axis_names={DATA},
        check_vma=False,
    )(array.array)
    means = sums * (1 / math.prod(axes[i].size for i in summed))
    return NamedArray(prevent_fma(means, sums), kept)


def _sums_of_squares(array: jax.Array, axis: int, chunks: int, order: Sequence[int]) -> jax.Array:
    """[chunks] sums of the squares of equal chunks along an axis; `order`: of the axes along which to add up."""
    shape = array.shape
    squares = jnp.square(array.reshape(*shape[:axis], chunks, shape[axis] // chunks, *shape[axis + 1 :]))
    squares = prevent_fma(squares, squares)
    for i in order:
        squares = _folded(squares, i if i < axis else i + 1)
    return squares.reshape(chunks)


def _folded(array: jax.Array, axis: int) -> jax.Array:
    """The sum along an axis, which stays with a length of 1: a tree of sums of whole arrays."""
    while (length := array.shape[axis]) > 1:
        count = min(FAN_IN, 1 << (length - 1).bit_length())
        missing = -length % count
        padded = jnp.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)])
        array = tree_reduce(jnp.split(padded, count, axis), TreeOrder.HALVES)
    return array


def _without(shape: Sequence[int], place: int) -> list[int]:
    """A shape in which the axis of chunks and that within a chunk, both of length 1 or one of the two, are one."""
    return [*shape[:place], shape[place] * shape[place + 1], *shape[place + 2 :]]
