"""Between a pytree of arrays over a mesh and the named boxes of a checkpoint."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from haliax import NamedArray
from jax.sharding import Sharding

from lateen_trainer.checkpoint.grid import (
    Box,
    Shape,
    box_shape,
    chunk_shape,
    file_shape,
    intersection,
    slices,
)
from lateen_trainer.checkpoint.manifest import ArrayLayout


@dataclass(frozen=True)
class Leaf:
    """One array of the state: the array itself or its description."""

    name: str
    """Its path in the tree: `model.transformer.blocks.attn.c_attn.weight`."""

    array: jax.Array | jax.ShapeDtypeStruct
    axes: tuple[str, ...] | None
    """Names of its axes, if it is a NamedArray."""

    @property
    def shape(self) -> Shape:
        """Of the whole array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> str:
        """Name of its dtype."""
        return str(self.array.dtype)


def named_leaves(tree: Any) -> list[Leaf]:
    """The arrays of a pytree with their names, in the order of `jax.tree.leaves`.

    Raises:
        TypeError: a leaf is no array, or two leaves have one name.
    """
    paths = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: isinstance(leaf, NamedArray))
    leaves: dict[str, Leaf] = {}
    for path, value in paths:
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "value"
        axes = None
        if isinstance(value, NamedArray):
            axes = tuple(axis.name for axis in value.axes)
            value = value.array
            if value is None:
                continue
        if not isinstance(value, (jax.Array, jax.ShapeDtypeStruct)):
            raise TypeError(f"{name} is a {type(value).__name__}: a checkpoint keeps jax arrays; filter the state.")
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            raise TypeError(f"{name} is a typed PRNG key: keep jax.random.key_data of it.")
        if name in leaves:
            raise TypeError(f"two leaves of the state are called {name}.")
        leaves[name] = Leaf(name, value, axes)
    return list(leaves.values())


def layout_of(leaf: Leaf) -> ArrayLayout:
    """How the array will lie in a checkpoint: a function of its global sharding, equal on all processes."""
    item_bytes = np.dtype(leaf.array.dtype).itemsize
    file = file_shape(leaf.shape, _owners(leaf), item_bytes)
    return ArrayLayout(leaf.shape, leaf.dtype, file, chunk_shape(file, item_bytes), leaf.axes)


@dataclass(frozen=True)
class HostArray:
    """The part of an array that this process owns, in host memory."""

    leaf: Leaf
    """Describes the array; its values are in `pieces`."""

    pieces: dict[Box, np.ndarray]

    def box(self, wanted: Box) -> np.ndarray:
        """The values in a box that this process owns."""
        for held, values in self.pieces.items():
            if intersection(held, wanted) == wanted:
                return values[slices(wanted, held)]
        values = np.empty(box_shape(wanted), self.leaf.array.dtype)
        for held, piece in self.pieces.items():
            if (shared := intersection(held, wanted)) is not None:
                values[slices(shared, wanted)] = piece[slices(shared, held)]
        return values

    def owns(self, wanted: Box) -> bool:
        """Whether the box, a file of this array's layout, is this process's to write."""
        # A file has one owner, so its first element tells.
        corner = tuple((start, start + 1) for start, _ in wanted)
        return any(intersection(held, corner) == corner for held in self.pieces)


def to_host(leaves: list[Leaf], process_index: int) -> list[HostArray]:
    """The values this process owns, in host memory: for each piece, its first copy has the word.

    On CPU devices these are views of the devices' own buffers and nothing is copied: jax knows of the views,
    and a program that later gets the array by donation is given a copy of it (test_state tries).
    """
    owned = [_owned_shards(leaf, process_index) for leaf in leaves]
    for shards in owned:
        for _, data in shards:
            data.copy_to_host_async()
    return [
        HostArray(_described(leaf), {box: np.asarray(data) for box, data in shards})
        for leaf, shards in zip(leaves, owned, strict=True)
    ]


def boxes_by_device(leaf: Leaf) -> dict[Any, Box]:
    """Which part of the array each of this process's devices holds."""
    sharding = sharding_of(leaf)
    indices = sharding.addressable_devices_indices_map(leaf.shape)
    return {device: _box(index or (), leaf.shape) for device, index in indices.items()}


def sharding_of(leaf: Leaf) -> Sharding:
    """The leaf's sharding; one without is for the first local device."""
    if leaf.array.sharding is None:
        return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return leaf.array.sharding


def _owners(leaf: Leaf) -> np.ndarray:
    """The process that owns each piece, in the grid of pieces that the sharding cuts."""
    sharding = sharding_of(leaf)
    owner_of: dict[Box, int] = {}
    for device, index in sharding.devices_indices_map(leaf.shape).items():
        # An array on one process's devices alone has a twin on every other process; process 0 speaks for all.
        owner = 0 if sharding.is_fully_addressable else device.process_index
        owner_of.setdefault(_box(index, leaf.shape), owner)
    starts = [sorted({box[axis][0] for box in owner_of}) for axis in range(len(leaf.shape))]
    owners = np.zeros([len(along) for along in starts], dtype=np.int64)
    if len(owner_of) != owners.size or len({box_shape(box) for box in owner_of}) > 1:
        raise TypeError(f"{leaf.name}: {sharding} does not cut {leaf.shape} into equal pieces.")
    for box, owner in owner_of.items():
        owners[tuple(along.index(edge[0]) for along, edge in zip(starts, box, strict=True))] = owner
    return owners


def _owned_shards(leaf: Leaf, process_index: int) -> list[tuple[Box, jax.Array]]:
    """Pieces of which this process holds the first copy."""
    array = leaf.array
    assert isinstance(array, jax.Array), f"{leaf.name} has no values to save"
    if array.is_fully_addressable and process_index != 0:
        return []
    return [(_box(shard.index, leaf.shape), shard.data) for shard in array.addressable_shards if shard.replica_id == 0]


def _box(index: tuple[slice, ...], shape: Shape) -> Box:
    """An index of slices, as jax describes a shard, as a box."""
    return tuple(each.indices(size)[:2] for each, size in zip(index, shape, strict=True))


def _described(leaf: Leaf) -> Leaf:
    """The leaf without its values, so that they can be freed while it is being written."""
    array = jax.ShapeDtypeStruct(leaf.shape, leaf.array.dtype, sharding=leaf.array.sharding)
    return Leaf(leaf.name, array, leaf.axes)
