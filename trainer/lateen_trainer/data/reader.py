"""Reading runs of an array of a part: mapped from local shards, or fetched by TensorStore."""

import mmap
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import google_crc32c
import numpy as np
import tensorstore as ts

from lateen_trainer.data.layout import CRC_BYTES, Layout, open_array
from lateen_trainer.errors import DataError

_ENTRY_BYTES = 16
"""Of the index at a shard's end, a chunk: offset and length, little-endian uint64 each."""

Fetched = Callable[[], None]
"""Returns when the run is there."""


class ArrayReader(Protocol):
    """Reads runs of an array. Safe to use from several threads at once."""

    def fetch(self, row: np.ndarray, start: int, batch: ts.Batch) -> Fetched | None:
        """Fills `row` with the items from `start` on, at once or by the time that what is returned has been called.

        Args:
            batch: requests for neighbouring chunks are merged in it; submitted before the first wait.

        Raises:
            DataError: a chunk is lost or corrupt.
        """
        ...

    def release(self) -> None:
        """Gives back what memory the runs that were read have taken; reading goes on as before."""
        ...


class StoredArray:
    """Fetches chunks by TensorStore, which checks their CRC: works for all places, costs a request a row."""

    def __init__(self, array: ts.TensorStore, where: str):
        self._array = array
        self._where = where

    def fetch(self, row: np.ndarray, start: int, batch: ts.Batch) -> Fetched:
        pending = self._array[start : start + len(row)].read(batch=batch)

        def wait() -> None:
            try:
                row[:] = pending.result()
            except ValueError as error:
                if str(error).startswith(("DATA_LOSS", "NOT_FOUND")):
                    raise corrupt_cache(self._where, str(error)) from error
                raise

        return wait

    def release(self) -> None:
        """Nothing: TensorStore's pool has a limit of its own."""


def open_stored(kvstore: dict[str, Any], path: str, context: ts.Context, *, length: int, where: str) -> StoredArray:
    """The array at `path` of a whole part in the folder `kvstore`.

    Args:
        length: items that it has by its record.
        where: it lies, for messages.

    Raises:
        DataError: it is lost, or another one.
        ValueError: TensorStore's, where it cannot be read.
    """
    try:
        array = open_array(kvstore, path, context)
    except ValueError as error:
        # There is a record, so there is a bucket: what is not found is a part of the cache.
        if str(error).startswith(("NOT_FOUND", "FAILED_PRECONDITION", "DATA_LOSS", "INVALID_ARGUMENT")):
            problem = str(error).partition(" [tensorstore_spec=")[0]
            raise corrupt_cache(where, problem) from error
        raise
    if array.shape != (length,):
        raise corrupt_cache(where, f"it holds {array.shape[0]:,} items, and its record says {length:,}")
    return StoredArray(array, where)


class MappedArray:
    """Maps the shards of a local cache into memory: a row costs a copy. CRCs are checked at first touch."""

    def __init__(self, folder: Path, *, length: int, dtype: np.dtype, layout: Layout):
        """Maps the array in `folder`, of `length` items.

        Raises:
            DataError: a shard is lost, cut off, or its index is corrupt.
        """
        self._folder = folder
        self._dtype = dtype
        self._layout = layout
        self._chunk, self._chunks_per_shard = layout.chunk, layout.chunks_per_shard
        chunks = -(-length // layout.chunk)
        self._maps: list[mmap.mmap] = []
        self._shards: list[np.ndarray] = []
        self._offsets = array("q")
        self._is_touched = False
        for number in range(-(-length // layout.shard)):
            count = min(layout.chunks_per_shard, chunks - number * layout.chunks_per_shard)
            shard, offsets = self._map(number, count)
            self._shards.append(shard)
            self._offsets.extend(offsets)
        self._checked = bytearray(chunks)

    def fetch(self, row: np.ndarray, start: int, batch: ts.Batch | None = None) -> None:
        """Fills `row` with the items from `start` on, chunk by chunk."""
        self._is_touched = True
        done, length, size = 0, len(row), self._chunk
        while done < length:
            chunk, within = divmod(start + done, size)
            if not self._checked[chunk]:
                self._check(chunk)
            count = min(size - within, length - done)
            offset = self._offsets[chunk] + within
            row[done : done + count] = self._shards[chunk // self._chunks_per_shard][offset : offset + count]
            done += count

    def release(self) -> None:
        """Takes the pages that were touched out of this process's memory; the system's page cache keeps them."""
        if self._is_touched:
            self._is_touched = False
            for mapping in self._maps:
                mapping.madvise(mmap.MADV_DONTNEED)

    def _path(self, shard: int) -> Path:
        return self._folder / "c" / str(shard)

    def _map(self, number: int, count: int) -> tuple[np.ndarray, list[int]]:
        """A shard as an array of tokens, and at which of them each of its first `count` chunks begins."""
        path = self._path(number)
        index_bytes = self._layout.chunks_per_shard * _ENTRY_BYTES + CRC_BYTES
        try:
            size = path.stat().st_size
            if size <= index_bytes or size % self._dtype.itemsize:
                raise corrupt_cache(str(path), f"it is {size} bytes long")
            with path.open("rb") as file:
                self._maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise corrupt_cache(str(path), f"it cannot be read: {error.strerror}") from error
        shard = np.frombuffer(self._maps[-1], self._dtype)
        index = shard.view(np.uint8)[-index_bytes:].tobytes()
        entries, crc = index[:-CRC_BYTES], index[-CRC_BYTES:]
        if google_crc32c.value(entries) != int.from_bytes(crc, "little"):
            raise corrupt_cache(str(path), "the CRC of its index is wrong")
        spans = np.frombuffer(entries, "<u8").reshape(-1, 2)[:count].tolist()
        chunk_bytes = self._layout.chunk * self._dtype.itemsize + CRC_BYTES
        for offset, length in spans:
            if length != chunk_bytes or offset + length > size - index_bytes or offset % self._dtype.itemsize:
                raise corrupt_cache(str(path), "a chunk is missing")
        return shard, [offset // self._dtype.itemsize for offset, _ in spans]

    def _check(self, chunk: int) -> None:
        number = chunk // self._layout.chunks_per_shard
        begin = self._offsets[chunk] * self._dtype.itemsize
        end = begin + self._layout.chunk * self._dtype.itemsize
        raw = self._shards[number].view(np.uint8)
        if google_crc32c.value(raw[begin:end].tobytes()) != int.from_bytes(
            raw[end : end + CRC_BYTES].tobytes(), "little"
        ):
            raise corrupt_cache(str(self._path(number)), f"the CRC of chunk {chunk} is wrong")
        self._checked[chunk] = 1


def corrupt_cache(where: str, problem: str) -> DataError:
    """The error that says what to do about a part of a cache that is lost or damaged."""
    return DataError(
        f"The cache of tokens is corrupt: {where}: {problem}. Delete the cache's folder; it is built again, "
        "with the same tokens, at the next start."
    )
