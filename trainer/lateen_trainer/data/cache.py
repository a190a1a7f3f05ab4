"""The tokens of a split as one stream: the parts of its cache, in their order, as far as they are there.

Reading does not depend on who builds the cache. While it is built, the stream grows at its end, by whole parts.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data.layout import COUNTED, DOCUMENT_ENDS, TOKENS, Layout, dtype_of, folder
from lateen_trainer.data.ledger import HEADER, LEDGER, Header, Ledger, Record, chained
from lateen_trainer.data.reader import ArrayReader, Fetched, MappedArray, corrupt_cache, open_stored
from lateen_trainer.data.retries import retried
from lateen_trainer.data.writer import FIELD
from lateen_trainer.errors import DataError

_OUT = {TOKENS: np.dtype(np.int32), COUNTED: np.dtype(np.uint8)}
_RECORDS_AT_ONCE = 64

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


class TokenCache:
    """The tokens of all documents of a split, an end-of-text token behind each.

    All methods may be called by several threads at once.

    Args:
        url: of the cache's folder.
        store: that folder.
        context: TensorStore's.
        fingerprint: of what the cache is of.
        split: `train` or `validation`.
        order: numbers of the parts in the order of the stream.
        layout: of the arrays.
        dtype: of the tokens on disk.
        has_counted: there is an array that says which tokens count in the loss.
    """

    def __init__(
        self,
        url: str,
        store: ts.KvStore,
        context: ts.Context,
        *,
        fingerprint: str,
        split: str,
        order: Sequence[int],
        layout: Layout,
        dtype: np.dtype,
        has_counted: bool = False,
    ):
        self.url, self.fingerprint, self.split, self.order = url, fingerprint, split, tuple(order)
        self.has_counted = has_counted
        self._store, self._context, self.layout, self._dtype = store, context, layout, dtype
        self._parts: list[StreamPart] = []
        self._begins: list[int] = []
        self._ledger: Ledger | None = None
        self._header: Header | None = None
        self._readers: dict[tuple[str, int], ArrayReader] = {}
        self._lock = threading.Lock()
        self._touched = 0
        self.bytes_read = 0
        """Of the arrays, by this process."""
        self.read_retries = 0
        """Reads that were tried again."""
        self.look()

    def __len__(self) -> int:
        """Tokens of the whole stream, which must be whole."""
        return self.ledger.tokens

    @property
    def ledger(self) -> Ledger:
        """What the cache holds. Only a whole cache has one."""
        if self._ledger is None:
            raise RuntimeError(f"{self.url} is not whole yet: {len(self._parts)} of {len(self.order)} parts are there")
        return self._ledger

    @property
    def header(self) -> Header:
        """What the cache is of.

        Raises:
            DataError: the file that says so is lost or damaged.
        """
        # It never changes, and each batch asks for it.
        if self._header is None:
            with storage.explained(self.url, field=FIELD):
                self._header = self._ledger or ledgers.read_header(self._store, self.url)
            if self._header is None:
                raise corrupt_cache(storage.join(self.url, HEADER), "it is lost")
        return self._header

    @property
    def is_whole(self) -> bool:
        return self._ledger is not None

    @property
    def parts(self) -> Sequence[StreamPart]:
        """The parts at the beginning of the stream that are there without a gap, in its order."""
        return self._parts

    @property
    def tokens_ready(self) -> int:
        """Tokens from the beginning of the stream on that can be read."""
        return self._parts[-1].end if self._parts else 0

    @property
    def documents_ready(self) -> int:
        """Documents that end among them."""
        return self._parts[-1].first_document + self._parts[-1].record.documents if self._parts else 0

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Bad documents that the parts that are there were built without: `SkippedDocuments.to_json`."""
        return [file for part in sorted(self._parts, key=lambda part: part.number) for file in part.record.skipped]

    def look(self) -> bool:
        """Looks for parts that have become whole; whether all are.

        Raises:
            DataError: a record or the ledger is damaged.
            TrainerError: the storage cannot be read.
        """
        with self._lock, storage.explained(self.url, field=FIELD):
            if self._ledger is not None:
                return True
            ledger = ledgers.read_ledger(self._store, self.url)
            if ledger is not None:
                self._check(ledger)
                self._append(dict(enumerate(ledger.parts)))
                self._ledger = ledger
                return True
            while next_ones := self.order[len(self._parts) :][:_RECORDS_AT_ONCE]:
                before = len(self._parts)
                self._append(ledgers.read_records(self._store, self.url, next_ones))
                if len(self._parts) < before + len(next_ones):
                    break
            return False

    def rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """`length` tokens from each of `starts`: int32 (starts, length).

        Raises:
            DataError: a chunk is lost or corrupt.
            IndexError: they are not there (yet).
        """
        return self._rows(TOKENS, starts, length)

    def counted(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Whether the predictions of the same tokens count in the loss: uint8 (starts, length). Of conversations only.

        Raises:
            DataError: a chunk is lost or corrupt.
            IndexError: they are not there (yet).
        """
        return self._rows(COUNTED, starts, length)

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

    def blocks(self, size: int = 1 << 20, *, stop: int | None = None) -> Iterator[np.ndarray]:
        """All tokens that are there, or those before `stop`, in order, in int32 arrays of up to `size`."""
        ready = self.tokens_ready if stop is None else min(stop, self.tokens_ready)
        for start in range(0, ready, size):
            yield self.rows(np.array([start]), min(size, ready - start))[0]

    def verify(self) -> None:
        """`verify_part` for all parts."""
        for part in self._parts:
            self.verify_part(part)

    def verify_part(self, part: StreamPart) -> None:
        """Reads a part and compares the digests of its arrays with those of its record.

        Raises:
            DataError: it holds something else than was written.
        """
        expected = {TOKENS: part.record.digest, **part.record.digests}
        for name, digest in expected.items():
            found = ""
            for shard in self._shards(name, part):
                found = chained(found, shard.tobytes())
            if found != digest:
                raise DataError(
                    f"{storage.join(self.url, folder(part.number), name)} holds other tokens than were written: their "
                    f"digest is {found}, its record says {digest}. Delete the cache's folder; it is built again."
                )

    def _shards(self, name: str, part: StreamPart) -> Iterator[np.ndarray]:
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

    def _rows(self, name: str, starts: np.ndarray, length: int) -> np.ndarray:
        rows = np.empty((len(starts), length), _OUT[name])
        if len(starts) and (min(starts) < 0 or max(starts) + length > self.tokens_ready):
            raise IndexError(
                f"tokens {min(starts)} to {max(starts) + length} of {self.url}: {self.tokens_ready} are there"
            )

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
            part = self._parts[index]
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

    def _append(self, records: dict[int, Record]) -> None:
        """Takes up the records that come next in the stream."""
        for number in self.order[len(self._parts) :]:
            if number not in records:
                return
            part = StreamPart(number, self.tokens_ready, self.documents_ready, records[number])
            # Readers look a position up among the beginnings first.
            self._parts.append(part)
            self._begins.append(part.first_token)

    def _check(self, ledger: Ledger) -> None:
        if len(ledger.parts) != len(self.order):
            raise DataError(
                f"{storage.join(self.url, LEDGER)} has {len(ledger.parts)} parts, and the source files make "
                f"{len(self.order)}. Delete the folder; the cache is built again."
            )
