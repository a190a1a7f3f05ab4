"""A part of a row-major array, cut into pieces that are each read at once. Plain geometry, without I/O."""

import math
from collections.abc import Iterator

import numpy as np

from lateen_trainer.checkpoint.grid import Box, Shape, box_shape


def strides(shape: Shape, item_bytes: int) -> Shape:
    """Bytes from one element to the next along each axis of a row-major array."""
    return tuple(math.prod(shape[axis + 1 :]) * item_bytes for axis in range(len(shape)))


def span(shape: Shape, box: Box, item_bytes: int) -> tuple[int, int]:
    """Offsets of the first byte of the box, and of the one behind its last, in the array."""
    along = strides(shape, item_bytes)
    first = sum(start * step for (start, _), step in zip(box, along, strict=True))
    last = sum((stop - 1) * step for (_, stop), step in zip(box, along, strict=True))
    return first, last + item_bytes


def pieces(shape: Shape, box: Box, item_bytes: int, *, gap: int, limit: int) -> Iterator[Box]:
    """Cuts a box into boxes of which each is one read.

    Args:
        shape: of the array.
        box: not empty.
        gap: bytes between two runs of elements that are worth one more read: with fewer, one read takes both, and
            what lies between them.
        limit: bytes that a read has at most.
    """
    start, stop = span(shape, box, item_bytes)
    if stop - start <= limit and _longest_gap(shape, box, item_bytes) <= gap:
        yield box
        return
    axis = next(axis for axis, size in enumerate(box_shape(box)) if size > 1)
    first, last = box[axis]
    # Far apart, each index is a read of its own; else halves, so that the reads are as long as they may be.
    middle = (first + last) // 2
    for half in ((first, middle), (middle, last)):
        yield from pieces(shape, (*box[:axis], half, *box[axis + 1 :]), item_bytes, gap=gap, limit=limit)


def _longest_gap(shape: Shape, box: Box, item_bytes: int) -> int:
    """Bytes between two neighbouring runs of elements of the box, where they are farthest from each other."""
    along = strides(shape, item_bytes)
    longest, inner = 0, item_bytes  # of the box within the axes so far: bytes from its first to its last element
    for (start, stop), step in zip(reversed(box), reversed(along), strict=True):
        if stop - start > 1:
            longest = max(longest, step - inner)
        inner += (stop - start - 1) * step
    return longest


def view(data: bytes | bytearray | memoryview, shape: Shape, box: Box, dtype: np.dtype) -> np.ndarray:
    """The elements of the box in the bytes of its `span`; read only, no copy."""
    return np.ndarray(box_shape(box), dtype, data, strides=strides(shape, dtype.itemsize))
