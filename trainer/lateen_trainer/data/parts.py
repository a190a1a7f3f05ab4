"""How a data set is cut into parts, the units of building, and how the parts follow each other in the stream.

Both are functions of the list of files alone (and of the seed): never of who builds the cache, or how far it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lateen_trainer.data.order import Permutation
from lateen_trainer.data.source import SourceFile

MOST_PARTS = 4096
"""Parts of small files that a data set has at most, however large it is: each is an object of its own that every
builder and reader looks at."""


@dataclass(frozen=True)
class Part:
    """Consecutive files that one builder tokenises."""

    number: int
    """From 0 on."""

    first: int
    """Index of its first file in the list."""

    files: tuple[SourceFile, ...]

    @property
    def size(self) -> int:
        """Bytes of its files, as stored."""
        return sum(file.size for file in self.files)


def cut(files: Sequence[SourceFile], target: int) -> list[Part]:
    """The parts of a list of files, in order: each file is in one of them.

    Consecutive files share a part as long as they have no more than `target` bytes together; a larger file is one by
    itself. Of a very large data set parts are larger, so that there are no more than `MOST_PARTS` of several files.

    Args:
        files: at least one.
        target: bytes.
    """
    target = max(target, -(-sum(file.size for file in files) // (MOST_PARTS // 2)))
    parts: list[Part] = []
    begin, size = 0, 0
    for index, file in enumerate(files):
        if index > begin and size + file.size > target:
            parts.append(Part(len(parts), begin, tuple(files[begin:index])))
            begin, size = index, 0
        size += file.size
    parts.append(Part(len(parts), begin, tuple(files[begin:])))
    return parts


def stream_order(parts: int, seed: int | None) -> list[int]:
    """The numbers of the parts in the order in which they form the stream; None: as they are numbered."""
    if seed is None:
        return list(range(parts))
    return Permutation(parts, f"lateen parts: seed {seed}")(np.arange(parts)).tolist()
