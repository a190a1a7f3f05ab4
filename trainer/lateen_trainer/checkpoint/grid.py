"""How an array is cut: into files, and each file into chunks. Plain geometry, without I/O.

An array lies in a regular grid of files, each written by one process, and each file in a regular grid of
chunks. A chunk is what is read and verified at a time. Restoring onto another mesh needs other boxes than
were written, so chunks are cut along all axes alike: whichever axis the next mesh divides, a process finds
its part in few chunks.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, ...]
Box = tuple[tuple[int, int], ...]
"""Start and stop along each axis."""

CHUNK_BYTES = 8 << 20
FILE_BYTES = 256 << 20


def slices(box: Box, origin: Box | None = None) -> tuple[slice, ...]:
    """The box as an index, counted from the start of `origin` if that is given."""
    if origin is None:
        return tuple(slice(start, stop) for start, stop in box)
    return tuple(slice(start - at, stop - at) for (start, stop), (at, _) in zip(box, origin, strict=True))


def box_shape(box: Box) -> Shape:
    """Lengths of the box's edges."""
    return tuple(stop - start for start, stop in box)


def intersection(a: Box, b: Box) -> Box | None:
    """What two boxes share; None: nothing."""
    shared = tuple((max(x[0], y[0]), min(x[1], y[1])) for x, y in zip(a, b, strict=True))
    return shared if all(start < stop for start, stop in shared) else None


@dataclass(frozen=True)
class Grid:
    """Equal cells that fill an array. Cells are numbered in row-major order."""

    shape: Shape
    """Of the array."""

    cell: Shape
    """Of one cell; divides `shape` along every axis (an empty axis has no cells)."""

    @property
    def counts(self) -> Shape:
        """Cells along each axis."""
        return tuple(size // cell for size, cell in zip(self.shape, self.cell, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def box(self, number: int) -> Box:
        """The cell with this number."""
        at = np.unravel_index(number, self.counts) if self.counts else ()
        return tuple((int(i) * c, (int(i) + 1) * c) for i, c in zip(at, self.cell, strict=True))

    def overlapping(self, box: Box) -> Iterator[int]:
        """Numbers of the cells that share something with the box, in order."""
        if any(start >= stop for start, stop in box):
            return
        ranges = [range(start // c, -(-stop // c)) for (start, stop), c in zip(box, self.cell, strict=True)]
        strides = [math.prod(self.counts[axis + 1 :]) for axis in range(len(self.counts))]
        for at in itertools.product(*ranges):
            yield sum(i * stride for i, stride in zip(at, strides, strict=True))


def chunk_shape(shape: Shape, item_bytes: int, limit: int = CHUNK_BYTES) -> Shape:
    """Cuts a cell until a piece has at most `limit` bytes, by exact divisors, along all axes in turn.

    Halves as long as some axis is even, as meshes mostly divide by powers of two; then come larger factors.
    """
    piece, cuts = [max(1, size) for size in shape], [1] * len(shape)
    while math.prod(piece) * item_bytes > limit and any(size > 1 for size in piece):
        factors = [_smallest_factor(size) for size in piece]
        axis = min(
            (axis for axis, size in enumerate(piece) if size > 1),
            key=lambda axis: (factors[axis], cuts[axis], axis),
        )
        piece[axis] //= factors[axis]
        cuts[axis] *= factors[axis]
    return tuple(piece)


def file_shape(shape: Shape, owners: np.ndarray, item_bytes: int, limit: int = FILE_BYTES) -> Shape:
    """The largest files of which each has one owner and at most `limit` bytes.

    Args:
        shape: of the array.
        owners: the process that owns each piece, in the grid of pieces that the array's sharding cuts.
        item_bytes: bytes of an element.
        limit: bytes of a file. A piece that is larger is cut.
    """
    piece = tuple(max(1, size // count) for size, count in zip(shape, owners.shape, strict=True))
    if math.prod(piece) * item_bytes > limit:
        return chunk_shape(piece, item_bytes, limit)
    for axis in reversed(range(len(shape))):
        count = owners.shape[axis]
        room = limit // (math.prod(piece) * item_bytes)
        joined = next(n for n in range(min(count, room), 0, -1) if count % n == 0 and _same_in_groups(owners, axis, n))
        owners = np.take(owners, range(0, count, joined), axis=axis)
        piece = (*piece[:axis], piece[axis] * joined, *piece[axis + 1 :])
    return piece


def _same_in_groups(owners: np.ndarray, axis: int, size: int) -> bool:
    """Whether every `size` neighbours along the axis have the same owner."""
    first = np.take(owners, range(0, owners.shape[axis], size), axis=axis)
    return bool(np.array_equal(np.repeat(first, size, axis=axis), owners))


def _smallest_factor(size: int) -> int:
    """The smallest prime factor (of sizes of axes: trial division is quick enough)."""
    return next((n for n in range(2, math.isqrt(size) + 1) if size % n == 0), max(size, 2))


def whole(shape: Sequence[int]) -> Box:
    """The box of a whole array."""
    return tuple((0, size) for size in shape)
