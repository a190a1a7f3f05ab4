"""The arrays of a cache's parts, read as those of one stream."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.data.layout import COUNTED, DOCUMENT_ENDS, TOKENS, Layout, dtype_of, folder
from lateen_trainer.data.ledger import Record
from lateen_trainer.data.reader import ArrayReader, Fetched, MappedArray, open_stored
from lateen_trainer.data.retries import retried
from lateen_trainer.data.writer import FIELD

_OUT = {TOKENS: np.dtype(np.int32), COUNTED: np.dtype(np.uint8)}

_TOUCHED_BY_ROW = 1 << 17
"""Bytes, at most, that a short row maps into memory: Linux maps 16 pages around the one that is touched, and the chunk
before the row may be checked."""

_TOUCHED_BYTES = 1 << 26
"""Memory for what is mapped of local arrays: without a limit it would be as large as the cache."""


@dataclass(frozen=True)
class StreamPart:
    """A whole part in the stream."""

    number: int
    """In the cache."""

    first_token: int
    """Of the stream."""

    first_document: int
    """Of the stream."""

    record: Record

    @property
    def end(self) -> int:
        """The stream's first token behind the part."""
        return self.first_token + self.record.tokens


class StreamArrays:
    """The arrays of the parts at the beginning of a stream, which grows at its end.

    All methods may be called by several threads at once, `append` by one at a time.

    Args:
        url: of the cache's folder.
        context: TensorStore's.
        layout: of the arrays.
        dtype: of the tokens on disk.
    """

    def __init__(self, url: str, context: ts.Context, *, layout: Layout, dtype: np.dtype):
        self.url, self.layout = url, layout
        self._context, self._dtype = context, dtype
        self.parts: list[StreamPart] = []
        self._begins: list[int] = []
        self._readers: dict[tuple[str, int], ArrayReader] = {}
        self._lock = threading.Lock()
        self._touched = 0
        self.bytes_read = 0
        """By this process."""
        self.read_retries = 0
        """Reads that were tried again."""

    @property
    def tokens(self) -> int:
        """Of the parts that are there."""
        return self.parts[-1].end if self.parts else 0

    @property
    def documents(self) -> int:
        """Of the parts that are there."""
        return self.parts[-1].first_document + self.parts[-1].record.documents if self.parts else 0

    def append(self, number: int, record: Record) -> None:
        """Takes up the part that comes next in the stream."""
        part = StreamPart(number, self.tokens, self.documents, record)
        # Readers look a position up among the beginnings first.
        self.parts.append(part)
        self._begins.append(part.first_token)

    def rows(self, name: str, starts: np.ndarray, length: int) -> np.ndarray:
        """`length` items of an array from each of `starts`: (starts, length), int32 of tokens, else uint8.

        Raises:
            DataError: a chunk is lost or corrupt.
            IndexError: they are not there (yet).
        """
        rows = np.empty((len(starts), length), _OUT[name])
        if len(starts) and (min(starts) < 0 or max(starts) + length > self.tokens):
            raise IndexError(f"tokens {min(starts)} to {max(starts) + length} of {self.url}: {self.tokens} are there")

        def read() -> None:
            waiting: list[Fetched] = []
            with ts.Batch() as batch:
                for row, start in zip(rows, starts.tolist(), strict=True):
                    self._fetch(name, row, start, batch, waiting.append)
            for wait in waiting:
                wait()

        retried(read, url=self.url, field=FIELD, on_retry=self._count_retry)
        size = rows.size * dtype_of(name, self._dtype).itemsize
        with self._lock:
            self.bytes_read += size
        self._release_after(size + len(starts) * _TOUCHED_BY_ROW)
        return rows

    def document_ends(self, part: StreamPart) -> np.ndarray:
        """Where the documents of a part end: int64 (documents,), positions in the stream behind each one's end-of-text
        token, ascending.

        Raises:
            DataError: a chunk is lost or corrupt.
        """
        ends = np.empty(part.record.documents, np.uint64)
        if len(ends):
            read = partial(self._fill, ends, DOCUMENT_ENDS, part)
            retried(read, url=self.url, field=FIELD, on_retry=self._count_retry)
        return ends.astype(np.int64) + part.first_token

    def shards(self, name: str, part: StreamPart) -> Iterator[np.ndarray]:
        """An array of a part shard by shard, as it lies on disk."""
        length = part.record.documents if name == DOCUMENT_ENDS else part.record.tokens
        dtype, size = dtype_of(name, self._dtype), self.layout.of(name).shard
        for start in range(0, length, size):
            shard = np.empty(min(size, length - start), dtype)
            self._fill(shard, name, part, start)
            yield shard

    def _fill(self, items: np.ndarray, name: str, part: StreamPart, start: int = 0) -> None:
        """Reads what an array of a part holds from `start` on."""
        with ts.Batch() as batch:
            fetched = self._reader(name, part).fetch(items, start, batch)
        if fetched is not None:
            fetched()
        self._release_after(items.nbytes)

    def _release_after(self, touched: int) -> None:
        """Gives memory back once reading has touched enough, `touched` bytes with the last read."""
        with self._lock:
            self._touched += touched
            if self._touched >= _TOUCHED_BYTES:
                self._touched = 0
                for reader in list(self._readers.values()):
                    reader.release()

    def _count_retry(self) -> None:
        self.read_retries += 1

    def _fetch(self, name: str, row: np.ndarray, start: int, batch: ts.Batch, add: Callable[[Fetched], None]) -> None:
        """Fills a row, part by part."""
        index, done = bisect_right(self._begins, start) - 1, 0
        while done < len(row):
            part = self.parts[index]
            count = min(len(row) - done, part.end - start - done)
            if count > 0:
                reader = self._reader(name, part)
                fetched = reader.fetch(row[done : done + count], start + done - part.first_token, batch)
                if fetched is not None:
                    add(fetched)
                done += count
            index += 1

    def _reader(self, name: str, part: StreamPart) -> ArrayReader:
        """Opened at the first use: a large cache has thousands of parts."""
        reader = self._readers.get((name, part.number))
        if reader is None:
            reader = self._readers[name, part.number] = self._open(name, part)
        return reader

    def _open(self, name: str, part: StreamPart) -> ArrayReader:
        length = part.record.documents if name == DOCUMENT_ENDS else part.record.tokens
        path = f"{folder(part.number)}/{name}"
        local = storage.local_path(self.url)
        if local is not None and name != DOCUMENT_ENDS:
            dtype = dtype_of(name, self._dtype)
            return MappedArray(local / path, length=length, dtype=dtype, layout=self.layout.of(name))
        kvstore = storage.kvstore_spec(self.url, field=FIELD)
        return open_stored(kvstore, path, self._context, length=length, where=storage.join(self.url, path))
