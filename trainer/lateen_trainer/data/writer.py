"""Writing the arrays of a part, a shard at a time, so that a build that is killed at any moment goes on from there.

A shard is written in one piece, then the state, which says that it is there and where in the sources the next one
begins. All builders of a part write the same bytes: a shard is written when it is full or when the part ends, never in
between. Ends of documents fill their shards much later than tokens do; the state keeps those that are in no shard yet.
"""

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data.bad_documents import SkippedDocuments
from lateen_trainer.data.layout import (
    COUNTED,
    DOCUMENT_ENDS,
    TOKENS,
    Layout,
    dtype_of,
    folder,
    writable_array,
    write_metadata,
)
from lateen_trainer.data.ledger import RECORDS, STATES, BuildState, Record, chained, name_of

FIELD = "spec.data.cacheDir"


@dataclass(frozen=True)
class Target:
    """The cache to build."""

    url: str
    store: ts.KvStore
    """The folder `url`."""

    context: ts.Context
    fingerprint: str
    split: str
    layout: Layout
    dtype: np.dtype
    """Of tokens."""

    has_counted: bool = False
    """Is it said of each token whether it counts in the loss?"""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a piece of text, with end of text if it ends a document."""

    source: int
    """Index of the file in the list of all."""

    piece: int
    """Index of the piece in the file."""

    ends_document: bool
    tokens: np.ndarray
    counted: np.ndarray | None = None
    """uint8 of the same shape, in a cache of conversations: 1 where the prediction of the token counts in the loss."""


class PartWriter:
    """Collects the tokens of a part and writes them.

    Args:
        target: the cache.
        part: number of the part.
        first: index of the part's first file.
        bytes_needed: bytes of tokens yet to come, given the index of the file being read and the tokens so far; for
            the message when the disk is full.
    """

    def __init__(self, target: Target, part: int, first: int, bytes_needed: Callable[[int, int], int]):
        self._target, self._part, self._bytes_needed = target, part, bytes_needed
        with self._explained():
            arrays = [TOKENS, DOCUMENT_ENDS, *([COUNTED] if target.has_counted else [])]
            self._arrays = {name: _Array(target, part, name) for name in arrays}
            self.state = ledgers.read_state(target.store, part) or BuildState(source=first)
        for name, array in self._arrays.items():
            array.digest = self.state.digests.get(name, "")
        ends = self._arrays[DOCUMENT_ENDS]
        pending = unpacked(self.state.pending_ends)
        ends.shards = (self.state.documents - len(pending)) // len(ends.buffer)
        ends.fill(pending)
        for name in arrays:
            if name != DOCUMENT_ENDS:
                self._arrays[name].shards = self.state.shards
        self.skipped = SkippedDocuments(self.state.skipped)

    @property
    def tokens(self) -> int:
        """Tokens so far, written or not."""
        return self._arrays[TOKENS].length

    @property
    def documents(self) -> int:
        """Documents so far."""
        return self._arrays[DOCUMENT_ENDS].length

    def append(self, piece: Tokens, *, skip: int) -> None:
        """Adds the tokens of a piece, less the first `skip`, which are in the shards already."""
        done, tokens = skip, self._arrays[TOKENS]
        while done < len(piece.tokens):
            count = min(len(piece.tokens) - done, tokens.room)
            tokens.fill(piece.tokens[done : done + count])
            if COUNTED in self._arrays:
                assert piece.counted is not None, "the tokens of conversations say which of them count"
                self._arrays[COUNTED].fill(piece.counted[done : done + count])
            done += count
            if not tokens.room:
                self._write_full(piece, done)
        if piece.ends_document:
            ends = self._arrays[DOCUMENT_ENDS]
            ends.fill(np.array([self.tokens], np.uint64))
            if not ends.room:
                with self._explained(self._bytes_needed(piece.source, self.tokens)):
                    ends.write()

    def finish(self, source: int) -> Record:
        """Writes what is left and the arrays' lengths; then the part is whole, as its record says.

        Args:
            source: index of the last file, for messages.
        """
        tokens, documents = self.tokens, self.documents
        with self._explained(self._bytes_needed(source, tokens)):
            for array in self._arrays.values():
                array.finish()
            digests = {name: array.digest for name, array in self._arrays.items()}
            record = Record(tokens, documents, digests.pop(TOKENS), digests, self.skipped.to_json())
            self._target.store.write(name_of(RECORDS, self._part), record.to_json()).result()
            self._target.store.write(name_of(STATES, self._part), None).result()
        return record

    def discard(self) -> None:
        """Forgets what was built, so that a later build begins again."""
        with self._explained():
            self._target.store.write(name_of(STATES, self._part), None).result()

    def _write_full(self, piece: Tokens, done: int) -> None:
        """Writes a full shard, which ends behind the first `done` tokens of `piece`, and then the state."""
        with self._explained(self._bytes_needed(piece.source, self.tokens)):
            for name, array in self._arrays.items():
                if name != DOCUMENT_ENDS:
                    array.write()
            self.state = replace(
                self.state,
                shards=self._arrays[TOKENS].shards,
                documents=self.documents,
                source=piece.source,
                piece=piece.piece,
                skip=done,
                digests={name: array.digest for name, array in self._arrays.items()},
                pending_ends=packed(self._arrays[DOCUMENT_ENDS].pending),
                # The file that is being read is read again from its beginning.
                skipped=self.skipped.to_json(before=piece.source),
            )
            self._target.store.write(name_of(STATES, self._part), self.state.to_json()).result()

    def _explained(self, needed: int | None = None):
        return storage.explained(self._target.url, field=FIELD, needed=needed)


class _Array:
    """One array of a part: full shards that are written, and a buffer of what is not."""

    def __init__(self, target: Target, part: int, name: str):
        self.dtype = dtype_of(name, target.dtype)
        self._layout = target.layout.of(name)
        self._path = f"{folder(part)}/{name}"
        self._kvstore, self._context = target.store.spec().to_json(), target.context
        self._store = writable_array(self._kvstore, self._path, self.dtype, self._layout, target.context)
        self.buffer = np.empty(self._layout.shard, self.dtype)
        self._filled = 0
        self.shards = 0
        self.digest = ""

    @property
    def length(self) -> int:
        return self.shards * len(self.buffer) + self._filled

    @property
    def room(self) -> int:
        """Items until the shard is full."""
        return len(self.buffer) - self._filled

    @property
    def pending(self) -> np.ndarray:
        """What is in no shard yet."""
        return self.buffer[: self._filled]

    def fill(self, items: np.ndarray) -> None:
        self.buffer[self._filled : self._filled + len(items)] = items
        self._filled += len(items)

    def write(self) -> None:
        """Writes the buffer as the next shard, in one piece."""
        # Chunks of fill values are left out of the shard; as the whole shard is written, none is read before.
        self.buffer[self._filled :] = np.iinfo(self.dtype).max
        start = self.shards * len(self.buffer)
        self._store[start : start + len(self.buffer)].write(self.buffer).result()
        self.digest = chained(self.digest, self.pending.tobytes())
        self.shards, self._filled = self.shards + 1, 0

    def finish(self) -> None:
        """Writes the last shard, which need not be full, and the array's length."""
        length = self.length
        if self._filled:
            self.write()
        write_metadata(self._kvstore, self._path, length, self.dtype, self._layout, self._context)


def packed(ends: np.ndarray) -> str:
    """Ascending numbers as text: differences, compressed."""
    return (
        base64.b64encode(zlib.compress(np.diff(ends, prepend=np.uint64(0)).tobytes(), 1)).decode() if len(ends) else ""
    )


def unpacked(text: str) -> np.ndarray:
    """What `packed` was given: uint64."""
    if not text:
        return np.empty(0, np.uint64)
    return np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint64), dtype=np.uint64)
