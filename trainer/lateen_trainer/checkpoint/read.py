"""Reading one checkpoint onto a mesh: each process only the chunks that its devices' parts touch."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from lateen_trainer.checkpoint import zarr
from lateen_trainer.checkpoint.grid import Box, box_shape, intersection, slices, whole
from lateen_trainer.checkpoint.manifest import ArrayEntry, Manifest
from lateen_trainer.checkpoint.state import Leaf, boxes_by_device, sharding_of

_READERS = 8
_AHEAD_BYTES = 1 << 30
"""How much of the state may wait in host memory on its way to the devices."""

_ALIGNMENT = 64
"""XLA takes over host memory without a copy, on CPU devices, if it begins at a multiple of this."""


def read_arrays(kvstore: dict[str, Any], manifest: Manifest, leaves: Sequence[Leaf]) -> list[jax.Array]:
    """The arrays that `leaves` describe, each on the devices of its sharding and in its type.

    A leaf that is longer than the array in the checkpoint is 0 behind the array's end; of an array that is longer than
    its leaf the end is left out.

    Raises:
        DamagedError: something that this process needs is not what was written.
        OSError: the store cannot be reached or refuses.
    """
    context = zarr.io_context()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="checkpoint-chunk") as pool:
        return finish_in_order(
            pool, (_begin(pool, kvstore, leaf, manifest.arrays[leaf.name], context) for leaf in leaves)
        )


def finish_in_order(pool: ThreadPoolExecutor, readings: Iterable["Reading"]) -> list[jax.Array]:
    """The arrays on their devices. A reading begins when it is taken, as long as few bytes wait in host memory.

    Raises:
        what a reading raises; those that have not begun are given up.
    """
    waiting: deque[Reading] = deque()
    arrays: list[jax.Array] = []
    try:
        for reading in readings:
            waiting.append(reading)
            while sum(reading.nbytes for reading in waiting) > _AHEAD_BYTES and len(waiting) > 1:
                arrays.append(waiting.popleft().on_devices())
        arrays.extend(reading.on_devices() for reading in waiting)
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    # The host's buffers may still be on their way; they must not outlive this call half read.
    return jax.block_until_ready(arrays)


@dataclass(frozen=True)
class Reading:
    """An array whose parts are being read."""

    leaf: Leaf
    parts: dict[Box, np.ndarray]
    """What this process needs, each part once, however many devices hold it."""

    chunks: Sequence[Future[None]]

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in self.parts.values())

    def on_devices(self) -> jax.Array:
        """Waits for the chunks, and hands the parts to the devices."""
        for chunk in self.chunks:
            chunk.result()
        pieces, taken = [], set()
        for device, box in boxes_by_device(self.leaf).items():
            # Only one device may take the memory over: a program may change what is its own in place.
            pieces.append(jax.device_put(self.parts[box], device, may_alias=box not in taken))
            taken.add(box)
        return jax.make_array_from_single_device_arrays(self.leaf.shape, sharding_of(self.leaf), pieces)


def _begin(
    pool: ThreadPoolExecutor, kvstore: dict[str, Any], leaf: Leaf, entry: ArrayEntry, context: ts.Context
) -> Reading:
    dtype = np.dtype(leaf.array.dtype)
    parts = {box: aligned_empty(box_shape(box), dtype) for box in set(boxes_by_device(leaf).values())}
    if leaf.shape != entry.layout.shape:
        for part in parts.values():
            part.fill(0)
    store = zarr.open_array(kvstore, leaf.name, entry.layout, context)

    def read(number: int) -> None:
        box, values = zarr.read_chunk(store, leaf.name, entry.layout, number, entry.digests[number])
        for part, target in parts.items():
            if (shared := intersection(box, part)) is not None:
                target[slices(shared, part)] = values[slices(shared, box)]

    def check_description() -> None:
        zarr.check_description(kvstore, leaf.name, entry.description_digest, context)

    jobs = [pool.submit(check_description)]
    jobs += [pool.submit(read, number) for number in needed_chunks(entry, parts)]
    return Reading(leaf, parts, jobs)


def needed_chunks(entry: ArrayEntry, boxes: Iterator[Box] | Sequence[Box] | dict[Box, Any]) -> list[int]:
    """Numbers of the chunks that share something with one of the boxes, in order."""
    chunks, held = entry.layout.chunks, whole(entry.layout.shape)
    shared = [intersection(box, held) for box in boxes]
    return sorted({number for box in shared if box is not None for number in chunks.overlapping(box)})


def aligned_empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Memory that XLA takes over without a copy on CPU devices."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
