"""The tokens of a split as one stream: the parts of its cache, in their order, as far as they are there.

Reading does not depend on who builds the cache. While it is built, the stream grows at its end, by whole parts.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data.layout import COUNTED, TOKENS, Layout, folder
from lateen_trainer.data.ledger import HEADER, LEDGER, Header, Ledger, Record, chained
from lateen_trainer.data.reader import corrupt_cache
from lateen_trainer.data.stream_arrays import StreamArrays, StreamPart
from lateen_trainer.data.writer import FIELD
from lateen_trainer.errors import DataError

_RECORDS_AT_ONCE = 64


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
        self._store, self.layout = store, layout
        self._arrays = StreamArrays(url, context, layout=layout, dtype=dtype)
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._header: Header | None = None
        self.look()

    def __len__(self) -> int:
        """Tokens of the whole stream, which must be whole."""
        return self.ledger.tokens

    @property
    def ledger(self) -> Ledger:
        """What the cache holds. Only a whole cache has one."""
        if self._ledger is None:
            raise RuntimeError(f"{self.url} is not whole yet: {len(self.parts)} of {len(self.order)} parts are there")
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
        return self._arrays.parts

    @property
    def tokens_ready(self) -> int:
        """Tokens from the beginning of the stream on that can be read."""
        return self._arrays.tokens

    @property
    def documents_ready(self) -> int:
        """Documents that end among them."""
        return self._arrays.documents

    @property
    def bytes_read(self) -> int:
        """Of the arrays, by this process."""
        return self._arrays.bytes_read

    @property
    def read_retries(self) -> int:
        """Reads that were tried again."""
        return self._arrays.read_retries

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Bad documents that the parts that are there were built without: `SkippedDocuments.to_json`."""
        return [file for part in sorted(self.parts, key=lambda part: part.number) for file in part.record.skipped]

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
            while next_ones := self.order[len(self.parts) :][:_RECORDS_AT_ONCE]:
                before = len(self.parts)
                self._append(ledgers.read_records(self._store, self.url, next_ones))
                if len(self.parts) < before + len(next_ones):
                    break
            return False

    def rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """`length` tokens from each of `starts`: int32 (starts, length).

        Raises:
            DataError: a chunk is lost or corrupt.
            IndexError: they are not there (yet).
        """
        return self._arrays.rows(TOKENS, starts, length)

    def counted(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Whether the predictions of the same tokens count in the loss: uint8 (starts, length). Of conversations only.

        Raises:
            DataError: a chunk is lost or corrupt.
            IndexError: they are not there (yet).
        """
        return self._arrays.rows(COUNTED, starts, length)

    def document_ends(self, part: StreamPart) -> np.ndarray:
        """`StreamArrays.document_ends`."""
        return self._arrays.document_ends(part)

    def blocks(self, size: int = 1 << 20, *, stop: int | None = None) -> Iterator[np.ndarray]:
        """All tokens that are there, or those before `stop`, in order, in int32 arrays of up to `size`."""
        ready = self.tokens_ready if stop is None else min(stop, self.tokens_ready)
        for start in range(0, ready, size):
            yield self.rows(np.array([start]), min(size, ready - start))[0]

    def verify(self) -> None:
        """`verify_part` for all parts."""
        for part in self.parts:
            self.verify_part(part)

    def verify_part(self, part: StreamPart) -> None:
        """Reads a part and compares the digests of its arrays with those of its record.

        Raises:
            DataError: it holds something else than was written.
        """
        expected = {TOKENS: part.record.digest, **part.record.digests}
        for name, digest in expected.items():
            found = ""
            for shard in self._arrays.shards(name, part):
                found = chained(found, shard.tobytes())
            if found != digest:
                raise DataError(
                    f"{storage.join(self.url, folder(part.number), name)} holds other tokens than were written: their "
                    f"digest is {found}, its record says {digest}. Delete the cache's folder; it is built again."
                )

    def _append(self, records: dict[int, Record]) -> None:
        """Takes up the records that come next in the stream."""
        for number in self.order[len(self.parts) :]:
            if number not in records:
                return
            self._arrays.append(number, records[number])

    def _check(self, ledger: Ledger) -> None:
        if len(ledger.parts) != len(self.order):
            raise DataError(
                f"{storage.join(self.url, LEDGER)} has {len(ledger.parts)} parts, and the source files make "
                f"{len(self.order)}. Delete the folder; the cache is built again."
            )
