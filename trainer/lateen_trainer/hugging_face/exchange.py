"""Arrays that are divided along the columns of their tensors: read by rows, then exchanged between the devices.

In the files of most families the weights of a linear layer are [out, in], and FSDP divides them along `in`: a device's
part of a row is a few kilobytes at most. Reading such parts one by one takes too many reads, and reading whole rows
takes all bytes in each process. So a device reads its share of whole rows, and one all-to-all gives each device its
columns: every byte is read once, and sent once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
from jax.sharding import NamedSharding, PartitionSpec

from lateen_trainer.hugging_face.match import Source
from lateen_trainer.mesh import DATA

SHORTEST_RUN = 64 << 10
"""Bytes that lie together in a file and are worth a read of their own."""

SMALLEST = 1 << 20
"""Bytes of an array that is worth an exchange; of a smaller one every process may read all."""


@dataclass(frozen=True)
class Exchange:
    """How an array is read, and what makes of it what was asked for."""

    source: Source
    """The same tensors, onto a sharding that divides rows."""

    finish: Callable[[jax.Array], jax.Array]
    """To the sharding that was asked for. All processes call it."""


def exchange(source: Source, item_bytes: int) -> Exchange | None:
    """The exchange for an array; None: its parts are read as they are.

    Args:
        source: the array, and the sharding that is asked for.
        item_bytes: of an element in the file.
    """
    leaf, sharding = source.leaf, source.leaf.array.sharding
    assert leaf.axes is not None
    if not isinstance(sharding, NamedSharding) or math.prod(leaf.shape) * item_bytes < SMALLEST:
        return None
    names = [_names(sharding.spec, axis) for axis in range(len(leaf.shape))]
    column = next((axis for axis, dividing in enumerate(names) if DATA in dividing), None)
    if column is None or _run_bytes(source, column, sharding, item_bytes) >= SHORTEST_RUN:
        return None
    row = _row(source, column, names, sharding)
    if row is None:
        return None
    names[row], names[column] = [*names[row], DATA], [name for name in names[column] if name != DATA]
    by_rows = NamedSharding(sharding.mesh, PartitionSpec(*(tuple(dividing) or None for dividing in names)))
    shape = list(leaf.shape)
    shape[row] += -shape[row] % _parts(names[row], sharding)
    described = jax.ShapeDtypeStruct(tuple(shape), leaf.array.dtype, sharding=by_rows)
    finish = partial(_to_columns, row=row, column=column, rows=leaf.shape[row], sharding=sharding)
    return Exchange(replace(source, leaf=replace(leaf, array=described)), finish)


def _to_columns(array: jax.Array, *, row: int, column: int, rows: int, sharding: NamedSharding) -> jax.Array:
    """The array divided as `sharding` says, without what pads its `rows`."""

    def on_device(part: jax.Array) -> jax.Array:
        part = jax.lax.all_to_all(part, DATA, split_axis=column, concat_axis=row, tiled=True)
        return part if array.shape[row] == rows else jax.lax.slice_in_dim(part, 0, rows, axis=row)

    by_rows = array.sharding
    assert isinstance(by_rows, NamedSharding)
    program = jax.shard_map(
        on_device, mesh=sharding.mesh, in_specs=by_rows.spec, out_specs=sharding.spec, check_vma=False
    )
    return jax.jit(program)(array)


def _row(source: Source, column: int, names: list[list[str]], sharding: NamedSharding) -> int | None:
    """The axis to divide over `data` instead, of those that lie before the column's in a tensor; None: there is none.

    One that has as many equal parts is preferred. Another one is padded, unless the model axis divides it.
    """
    axes = source.leaf.axes
    assert axes is not None
    inside = [axes.index(axis) for axis in source.tensors.axes if axis in axes]
    before = inside[: inside.index(column)] if column in inside else []
    data = sharding.mesh.shape[DATA]
    even = [axis for axis in before if source.leaf.shape[axis] % (data * _parts(names[axis], sharding)) == 0]
    whole = [axis for axis in before if not names[axis] and source.leaf.shape[axis] > data]
    return next(iter([*even, *whole]), None)


def _run_bytes(source: Source, column: int, sharding: NamedSharding, item_bytes: int) -> int:
    """Bytes of a device's part that lie together in a tensor, at most."""
    axes = source.leaf.axes
    assert axes is not None
    shard = dict(zip(axes, sharding.shard_shape(tuple(source.leaf.shape)), strict=True))
    inside = source.tensors.axes
    if axes[column] not in inside:
        return SHORTEST_RUN  # it tells tensors apart
    behind = inside[inside.index(axes[column]) :]
    return math.prod(shard.get(axis, 1) for axis in behind) * item_bytes


def _names(spec: PartitionSpec, axis: int) -> list[str]:
    """Axes of the mesh that divide an axis of an array."""
    named = spec[axis] if axis < len(spec) else None
    return [] if named is None else [named] if isinstance(named, str) else list(named)


def _parts(names: list[str], sharding: NamedSharding) -> int:
    return math.prod(sharding.mesh.shape[name] for name in names)
