"""The tensors of a model straight from a checkpoint, block by block: no process holds the model.

A chunk of a checkpoint is cut along all axes alike, and has parts of several layers. Chunks that were read stay in a
cache of `CACHE_BYTES` for the tensors of the next layers; with larger layers they are read again for each.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from lateen_trainer.checkpoint import zarr
from lateen_trainer.checkpoint.grid import Box, box_shape, intersection, slices
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.checkpoint.read import needed_chunks
from lateen_trainer.checkpoint.state import Leaf
from lateen_trainer.hugging_face.write import Block, OutputTensor, rows_of

CACHE_BYTES = 512 << 20
_READERS = 4


class CheckpointBlocks:
    """Reads blocks of the tensors of a model in a checkpoint, and checks the digests of their chunks.

    Args:
        kvstore: TensorStore's description of the folder of the checkpoint.
        manifest: of the checkpoint.
        names: of the model's arrays in it, by their names in the model.
    """

    def __init__(self, kvstore: dict[str, Any], manifest: Manifest, names: Mapping[str, str]):
        self._kvstore, self._manifest, self._names = kvstore, manifest, names
        self._context = zarr.io_context(CACHE_BYTES)
        self._open: Callable[[str], ts.TensorStore] = functools.cache(self._open_array)

    def leaves(self) -> list[Leaf]:
        """The arrays of the model, without values, by their names in it."""
        layouts = {name: self._manifest.arrays[array].layout for name, array in self._names.items()}
        return [
            Leaf(name, jax.ShapeDtypeStruct(layout.shape, jax.numpy.dtype(layout.dtype)), layout.axes)
            for name, layout in layouts.items()
        ]

    def __call__(self, tensor: OutputTensor) -> Iterator[Block]:
        """The blocks of a tensor, in the order of the file.

        Raises:
            DamagedError: a block that is taken is not what was written.
            OSError: the store cannot be reached or refuses.
        """
        order, rows, step = rows_of(tensor)
        for start in range(0, rows, step):
            yield functools.partial(self._read, tensor, order, (start, min(start + step, rows)))

    def _read(self, tensor: OutputTensor, order: tuple[int, ...], rows: tuple[int, int]) -> np.ndarray:
        leaf = tensor.leaf
        assert leaf.axes is not None
        box: list[tuple[int, int]] = [(0, tensor.sizes[axis]) for axis in leaf.axes]
        for axis, number in zip(order, tensor.at.values(), strict=False):
            box[axis] = (number, number + 1)
        box[order[len(tensor.at)]] = rows
        values = self._read_box(self._names[leaf.name], tuple(box), np.dtype(leaf.array.dtype))
        return values.transpose(order)[(0,) * len(tensor.at)]

    def _read_box(self, name: str, box: Box, dtype: np.dtype) -> np.ndarray:
        entry, target = self._manifest.arrays[name], np.empty(box_shape(box), dtype)

        def read(number: int) -> None:
            digest = entry.digests[number]
            held, values = zarr.read_chunk(self._open(name), name, entry.layout, number, digest)
            shared = intersection(held, box)
            assert shared is not None
            target[slices(shared, box)] = values[slices(shared, held)]

        with ThreadPoolExecutor(_READERS, thread_name_prefix="export-chunk") as pool:
            list(pool.map(read, needed_chunks(entry, [box])))
        return target

    def _open_array(self, name: str) -> ts.TensorStore:
        return zarr.open_array(self._kvstore, name, self._manifest.arrays[name].layout, self._context)
