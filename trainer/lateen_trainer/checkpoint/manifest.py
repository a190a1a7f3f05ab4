"""What a checkpoint holds: its manifest, and the parts from which process 0 makes it.

Every process but 0 writes `process-<number>.json` when its files are on disk; process 0 joins them to
`manifest.json`, and the checkpoint counts from then on.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import ml_dtypes
import numpy as np

from lateen_trainer.checkpoint.grid import Grid, Shape
from lateen_trainer.digest import DamagedError, seal, unseal
from lateen_trainer.storage import StoreTrouble

FORMAT = 1


def part_name(process: int) -> str:
    """File in which a process says what it wrote."""
    return f"process-{process}.json"


@dataclass(frozen=True)
class ArrayLayout:
    """How one array lies in a checkpoint. Equal on all processes that save it."""

    shape: Shape
    dtype: str
    file_shape: Shape
    chunk_shape: Shape
    axes: tuple[str, ...] | None = None
    """Names of the axes, for people; None: the array has none."""

    @property
    def nbytes(self) -> int:
        """Bytes of the array's values."""
        return math.prod(self.shape) * item_bytes(self.dtype)

    @property
    def files(self) -> Grid:
        """The files."""
        return Grid(self.shape, self.file_shape)

    @property
    def chunks(self) -> Grid:
        """The chunks, of all files together."""
        return Grid(self.shape, self.chunk_shape)


@dataclass(frozen=True)
class Part:
    """What one process wrote."""

    process: int
    digests: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """By array and number of the chunk."""

    error: str | None = None
    """Why the process could not write its part."""

    trouble: StoreTrouble | None = None
    """The object store's part in it, if it was that."""

    def to_bytes(self) -> bytes:
        """As it is written."""
        # Keys of JSON are strings, and are sorted as such when the text is checked.
        digests = {array: {str(n): d for n, d in ds.items()} for array, ds in self.digests.items()}
        return seal({"process": self.process, "digests": digests, "error": self.error, "trouble": self.trouble})

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> "Part":
        """As it is read back.

        Raises:
            DamagedError: these are not the bytes that were written.
        """
        body = unseal(data, name)
        digests = {array: {int(n): d for n, d in ds.items()} for array, ds in body["digests"].items()}
        trouble = body.get("trouble")
        return cls(body["process"], digests, body["error"], trouble and StoreTrouble(trouble))


@dataclass(frozen=True)
class ArrayEntry:
    """One array of a checkpoint."""

    layout: ArrayLayout
    description_digest: str
    """Of the array's `zarr.json`."""

    digests: tuple[str, ...]
    """Of the chunks, in the order of their numbers."""


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds."""

    step: int
    """Steps trained."""

    created: float
    """When it was committed: seconds since the epoch."""

    metadata: Mapping[str, Any]
    """What the trainer keeps beside the arrays."""

    job: str
    job_digest: str
    processes: int
    """How many processes wrote it."""

    arrays: Mapping[str, ArrayEntry]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(entry.layout.nbytes for entry in self.arrays.values())

    def to_bytes(self) -> bytes:
        """As it is written."""
        return seal({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> "Manifest":
        """As it is read back.

        Raises:
            DamagedError: these are not the bytes that were written, or a later lateen wrote them.
        """
        body = unseal(data, name)
        if body.pop("format", None) != FORMAT:
            raise DamagedError(f"{name} is not of format {FORMAT}, the one this version of lateen reads")
        arrays = {key: _entry(value) for key, value in body.pop("arrays").items()}
        return cls(arrays=arrays, **body)


def _entry(body: dict[str, Any]) -> ArrayEntry:
    layout = body["layout"]
    for name in ("shape", "file_shape", "chunk_shape"):
        layout[name] = tuple(layout[name])
    if layout["axes"] is not None:
        layout["axes"] = tuple(layout["axes"])
    return ArrayEntry(ArrayLayout(**layout), body["description_digest"], tuple(body["digests"]))


def join_parts(
    manifest: Manifest,
    layouts: Mapping[str, ArrayLayout],
    descriptions: Mapping[str, str],
    parts: Iterable[Part],
) -> Manifest:
    """The manifest with its arrays.

    Args:
        manifest: without arrays.
        layouts: of all arrays.
        descriptions: digests of the arrays' `zarr.json`.
        parts: of all processes.

    Raises:
        DamagedError: a chunk was written by no process: not all of them saved the same state.
    """
    found: dict[str, dict[int, str]] = {name: {} for name in layouts}
    for part in parts:
        for name, digests in part.digests.items():
            found.setdefault(name, {}).update(digests)
    if unknown := sorted(found.keys() - layouts.keys()):
        raise DamagedError(f"{unknown[0]} was written by another process, but process 0 does not have it")
    arrays = {}
    for name, layout in layouts.items():
        missing = [number for number in range(len(layout.chunks)) if number not in found[name]]
        if missing or len(found[name]) != len(layout.chunks):
            raise DamagedError(f"{name}: no process wrote chunks {missing[:5]} of {len(layout.chunks)}")
        digests = tuple(found[name][number] for number in range(len(layout.chunks)))
        arrays[name] = ArrayEntry(layout, descriptions[name], digests)
    return replace(manifest, arrays=arrays)


def item_bytes(dtype: str) -> int:
    """Bytes of an element of this dtype; knows bfloat16 and its kin."""
    return np.dtype(getattr(ml_dtypes, dtype, dtype)).itemsize
