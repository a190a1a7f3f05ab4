"""From arrays over a mesh to safetensors files: all processes write, each whole files, and none holds the model.

A tensor after the other is gathered from the devices, in blocks; the process that writes the file of the tensor takes
the block, the others drop it. (`checkpoint_blocks` gives the blocks of arrays that are in a checkpoint.) Files are
written from front to end, so that an object store takes them as well as a file system does. Host memory holds two
blocks; device memory holds one tensor of one layer besides the state (a block of it, where its first axis is not
divided over the mesh).
"""

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lateen_trainer.checkpoint.state import Leaf
from lateen_trainer.hugging_face.match import axis_sizes
from lateen_trainer.hugging_face.safetensors import DTYPES, TensorEntry, make_header
from lateen_trainer.hugging_face.weights import INDEX, SINGLE
from lateen_trainer.models.tensor_map import ArrayTensors, TensorMap

BLOCK_BYTES = 64 << 20
METADATA = {"format": "pt"}
"""What transformers expects in the header."""

Write = Callable[[bytes | memoryview], object]

Block = Callable[[], np.ndarray]
"""Gives a block of a tensor on the host; only who writes it calls it."""


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of an exported model."""

    name: str
    dtype: str
    """Name in the format."""

    shape: tuple[int, ...]
    leaf: Leaf
    tensors: ArrayTensors
    at: Mapping[str, int]
    """Index along the axes that are in the name."""

    sizes: Mapping[str, int]
    """Of our axes, by name, without padding."""

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return TensorEntry(self.dtype, self.shape, 0).nbytes


Blocks = Callable[[OutputTensor], Iterator[Block]]
"""The blocks of a tensor, in the order of the file. All processes take all of them, in the same order."""


@dataclass(frozen=True)
class OutputFile:
    """A file of an exported model."""

    name: str
    tensors: Sequence[OutputTensor]


def output_tensors(
    names: TensorMap,
    leaves: Sequence[Leaf],
    dtype_of: Callable[[str], str],
    copies: Sequence[str] = (),
    vocab_size: int | None = None,
) -> list[OutputTensor]:
    """The tensors of a model, layer by layer.

    Args:
        names: the family's map.
        leaves: the arrays of the model.
        dtype_of: type of a tensor, by its name.
        copies: of tied arrays, that are written too.
        vocab_size: entries of the vocabulary, whose axis may be padded; None: it is not.
    """
    tensors = []
    by_name = {leaf.name: leaf for leaf in leaves}
    for name, array in names.of(by_name).items():
        leaf, sizes = by_name[name], axis_sizes(by_name[name], vocab_size)
        for tensor, at in array.tensors(sizes):
            tensors.append(OutputTensor(tensor, dtype_of(tensor), array.shape(sizes), leaf, array, at, sizes))
            tensors += [
                OutputTensor(copy, dtype_of(copy), array.shape(sizes), leaf, array, at, sizes)
                for copy in copies
                if names.tied.get(copy) == name
            ]
    return sorted(tensors, key=lambda tensor: _natural(tensor.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts layer 10 behind layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def cut_into_files(tensors: Sequence[OutputTensor], file_bytes: int) -> list[OutputFile]:
    """Files of at most `file_bytes` bytes of elements; a tensor that is larger has one of its own."""
    files: list[list[OutputTensor]] = [[]]
    for tensor in tensors:
        if files[-1] and sum(other.nbytes for other in files[-1]) + tensor.nbytes > file_bytes:
            files.append([])
        files[-1].append(tensor)
    if len(files) == 1:
        return [OutputFile(SINGLE, files[0])]
    return [
        OutputFile(f"model-{number:05d}-of-{len(files):05d}.safetensors", tensors)
        for number, tensors in enumerate(files, start=1)
    ]


def index_of(files: Sequence[OutputFile]) -> tuple[str, dict] | None:
    """Name and content of the file that says where each tensor is; None: there is one file, and no need."""
    if len(files) == 1:
        return None
    size = sum(tensor.nbytes for file in files for tensor in file.tensors)
    weight_map = {tensor.name: file.name for file in files for tensor in file.tensors}
    return INDEX, {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}


def write_file(file: OutputFile, write: Write | None, blocks: Blocks) -> Iterator[None]:
    """Writes a file, or helps another process to write it; a step of it with each `next`.

    All processes take all steps of all files in the same order.

    Args:
        file: the file.
        write: takes the next bytes; None: another process writes the file.
        blocks: where the elements come from.
    """
    if write is not None:
        write(make_header([(tensor.name, tensor.dtype, tensor.shape) for tensor in file.tensors], METADATA)[0])
    for tensor in file.tensors:
        for block in blocks(tensor):
            if write is not None:
                # Converted here rather than on the devices, which may round the smallest numbers to 0.
                values = block().astype(DTYPES[tensor.dtype])
                write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
            yield


def rows_of(tensor: OutputTensor) -> tuple[tuple[int, ...], int, int]:
    """How a tensor is cut into blocks of at most `BLOCK_BYTES`.

    Returns:
        The axes of the array in the order of the tensor's elements, behind those in its name; indices of the first
        one in the tensor ("rows"); rows of a block.
    """
    leaf, sizes = tensor.leaf, tensor.sizes
    assert leaf.axes is not None, f"{leaf.name} has no named axes"
    inside = tuple(axis for axis in tensor.tensors.axes if axis in sizes)
    order = tuple(leaf.axes.index(axis) for axis in (*tensor.at, *inside))
    rows = sizes[inside[0]]
    row_bytes = max(1, math.prod(sizes[axis] for axis in inside[1:]) * leaf.array.dtype.itemsize)
    return order, rows, min(rows, max(1, BLOCK_BYTES // row_bytes))


def device_blocks(tensor: OutputTensor) -> Iterator[Block]:
    """The elements of a tensor whose array is over the devices of all processes."""
    array = tensor.leaf.array
    assert isinstance(array, jax.Array), f"{tensor.leaf.name} has no values"
    order, rows, step = rows_of(tensor)
    index = tuple(np.int32(number) for number in tensor.at.values())
    for start in range(0, rows, step):
        # The last block begins earlier than it counts, so that one program makes all blocks.
        first = min(start, rows - step)
        block = _take_block(array.sharding)(array, index, np.int32(first), order, step)
        yield functools.partial(_on_host, block, start - first)


def _on_host(block: jax.Array, first: int) -> np.ndarray:
    return np.asarray(block.addressable_data(0))[first:]


@functools.cache
def _take_block(sharding: jax.sharding.Sharding):
    """The program that takes a block out of an array with this sharding."""
    whole = NamedSharding(sharding.mesh, PartitionSpec()) if isinstance(sharding, NamedSharding) else None

    def block(array: jax.Array, index: tuple, start, order: tuple[int, ...], count: int) -> jax.Array:
        values = array.transpose(order)
        for number in index:
            values = jax.lax.dynamic_index_in_dim(values, number, 0, keepdims=False)
        return jax.lax.dynamic_slice_in_dim(values, start, count, 0)

    return jax.jit(block, static_argnums=(3, 4), out_shardings=whole)
