"""Building a cache: documents are tokenised, an end-of-text token is put behind each, and shards are written.

The order of things on disk makes a build that is killed at any moment whole again: a shard is written in
one piece; then the state, which says that it is there and where in the sources the next one begins; at the
end the array's metadata, and last the ledger.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data import source
from lateen_trainer.data.bad_documents import SkippedDocuments, stop
from lateen_trainer.data.cache import FIELD
from lateen_trainer.data.documents import Piece, read_documents
from lateen_trainer.data.layout import Layout, token_dtype, writable_array, write_metadata
from lateen_trainer.data.ledger import LEDGER, STATE, BuildState, Ledger, chained
from lateen_trainer.data.source import SourceFile
from lateen_trainer.data.token_files import TokenFormat
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.data.unchanged import check_unchanged
from lateen_trainer.errors import UserError

_BATCH = 4 << 20
"""Characters that are tokenised in one call: enough to occupy all cores, little enough to hold in memory."""

_BATCHES_AHEAD = 2
"""While one batch is encoded, the next is read."""


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


@dataclass(frozen=True)
class _Tokens:
    """The tokens of a piece of text, with end of text if it ends a document."""

    source: int
    piece: int
    ends_document: bool
    tokens: np.ndarray


def build_cache(
    files: Sequence[SourceFile],
    tokenizer: Tokenizer,
    target: Target,
    *,
    text_key: str,
    field: str,
    progress: Callable[[str], None],
    dtype: str | None = None,
    skip_bad: bool = False,
) -> Ledger:
    """Builds the cache, or completes one that was begun, and returns its ledger.

    Args:
        files: what to read, in order.
        tokenizer: what makes tokens of it.
        target: where they go.
        text_key: `spec.data.textKey`.
        field: the job's field that names the files, for messages.
        progress: called with where the work is, for people.
        dtype: `spec.data.dtype`.
        skip_bad: leave bad documents out, and say so in the ledger, rather than end at the first.

    Raises:
        UserError: a source or the cache's folder cannot be used, the disk is full, or there is no text.
        DataError: a source is broken.
    """
    shards = _Shards(target, token_dtype(tokenizer.vocab_size), files)
    first = shards.state
    form = TokenFormat(tokenizer.vocab_size, tokenizer.eos_id, dtype)
    read = partial(read_documents, text_key=text_key, as_bytes=tokenizer.takes_bytes, field=field, tokens=form)
    pieces = _pieces(files, first, read, shards.skipped if skip_bad else None)
    for piece in _tokenized(pieces, tokenizer):
        at_first = (piece.source, piece.piece) == (first.source, first.piece)
        shards.append(piece, skip=first.skip if at_first else 0)
        progress(
            f"{piece.source + 1} of {len(files)} files tokenized, {shards.tokens:,} tokens{_skipped(shards.skipped)}"
        )
    check_unchanged(files, field=field, discard=shards.discard)
    if shards.tokens == 0:
        raise UserError(
            f"{field}: its {len(files)} files hold no text ({sum(file.size for file in files):,} bytes). "
            f"Expected at least one document that is not empty.{_skipped(shards.skipped)}"
        )
    tokens, digest = shards.finish()
    ledger = Ledger(
        fingerprint=target.fingerprint,
        split=target.split,
        tokenizer={
            "name": tokenizer.name,
            "fingerprint": tokenizer.fingerprint,
            "vocab_size": tokenizer.vocab_size,
            "eos_id": tokenizer.eos_id,
        },
        files=source.to_json(files),
        tokens=tokens,
        documents=shards.state.documents,
        dtype=shards.dtype.name,
        layout=target.layout,
        digest=digest,
        skipped=shards.skipped.to_json(),
    )
    with storage.explained(target.url, field=FIELD):
        target.store.write(LEDGER, ledger.to_json()).result()
        target.store.write(STATE, None).result()
    return ledger


def _skipped(skipped: SkippedDocuments) -> str:
    return f", {skipped.count:,} bad documents skipped" if skipped.count else ""


def _pieces(
    files: Sequence[SourceFile],
    state: BuildState,
    read: Callable[..., Iterator[Piece]],
    skipped: SkippedDocuments | None,
) -> Iterator[tuple[int, int, Piece]]:
    """(source, index in it, piece) of all text from `state` on.

    Args:
        read: `read_documents`, but for the file and what takes bad documents.
        skipped: counts bad documents; None: they are errors.
    """
    for number in range(state.source, len(files)):
        on_bad = stop if skipped is None else skipped.collect(number, files[number].url)
        pieces = enumerate(read(files[number], on_bad=on_bad))
        begin = state.piece if number == state.source else 0
        for index, piece in itertools.islice(pieces, begin, None):
            yield number, index, piece


def _tokenized(pieces: Iterable[tuple[int, int, Piece]], tokenizer: Tokenizer) -> Iterator[_Tokens]:
    """The tokens of the pieces, in order."""
    end_of_text = np.array([tokenizer.eos_id], token_dtype(tokenizer.vocab_size))

    def encode(batch: list[tuple[int, int, Piece]]) -> list[_Tokens]:
        texts = [piece.text for _, _, piece in batch if not isinstance(piece.text, np.ndarray)]
        from_text = iter(tokenizer.encode_batch(texts) if texts else [])
        encoded = [
            piece.text.astype(end_of_text.dtype) if isinstance(piece.text, np.ndarray) else next(from_text)
            for _, _, piece in batch
        ]
        return [
            _Tokens(
                number,
                index,
                piece.ends_document,
                np.concatenate([tokens, end_of_text]) if piece.ends_document else tokens,
            )
            for (number, index, piece), tokens in zip(batch, encoded, strict=True)
        ]

    for batch in _in_order(encode, _batches(pieces)):
        yield from batch


def _batches(pieces: Iterable[tuple[int, int, Piece]]) -> Iterator[list[tuple[int, int, Piece]]]:
    batch, size = [], 0
    for item in pieces:
        batch.append(item)
        size += len(item[2].text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _in_order(function: Callable, items: Iterable) -> Iterator:
    """`map`, with a few calls running ahead of the consumer."""
    with ThreadPoolExecutor(_BATCHES_AHEAD) as pool:
        pending: deque[Future] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > _BATCHES_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class _Shards:
    """Collects tokens and writes them a shard at a time."""

    def __init__(self, target: Target, dtype: np.dtype, files: Sequence[SourceFile]):
        self.dtype = dtype
        self._target = target
        self._files = files
        self._buffer = np.empty(target.layout.shard, dtype)
        self._filled = 0
        with storage.explained(target.url, field=FIELD):
            self._kvstore = target.store.spec().to_json()
            self._array = writable_array(self._kvstore, dtype, target.layout, target.context)
            self.state = ledgers.read_state(target.store) or BuildState()
            self.skipped = SkippedDocuments(self.state.skipped)
            # Tells those who wait that work has begun, and finds out whether the folder can be written.
            target.store.write(STATE, self.state.to_json()).result()

    @property
    def tokens(self) -> int:
        """Tokens so far, written or not."""
        return self.state.shards * self._target.layout.shard + self._filled

    def append(self, piece: _Tokens, *, skip: int) -> None:
        """Adds the tokens of a piece, less the first `skip`, which are in the shards already."""
        done = skip
        while done < len(piece.tokens):
            count = min(len(piece.tokens) - done, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = piece.tokens[done : done + count]
            self._filled += count
            done += count
            if self._filled == len(self._buffer):
                self._write_full(piece, done)
        if piece.ends_document:
            self.state = replace(self.state, documents=self.state.documents + 1)

    def finish(self) -> tuple[int, str]:
        """Writes what is left and the array's length. Returns the number of tokens and their digest."""
        digest = self._write_shard(source_index=len(self._files) - 1) if self._filled else self.state.digest
        with storage.explained(self._target.url, field=FIELD):
            write_metadata(self._kvstore, self.tokens, self.dtype, self._target.layout, self._target.context)
        return self.tokens, digest

    def discard(self) -> None:
        """Forgets what was built, so that a later build begins again."""
        with storage.explained(self._target.url, field=FIELD):
            self._target.store.write(STATE, None).result()

    def _write_full(self, piece: _Tokens, done: int) -> None:
        """Writes a full shard, which ends behind the first `done` tokens of `piece`, and then the state."""
        self.state = replace(
            self.state,
            shards=self.state.shards + 1,
            source=piece.source,
            piece=piece.piece,
            skip=done,
            digest=self._write_shard(piece.source),
            # The file that is being read is read again from its beginning.
            skipped=self.skipped.to_json(before=piece.source),
        )
        needed = self._bytes_needed(piece.source)
        self._filled = 0
        with storage.explained(self._target.url, field=FIELD, needed=needed):
            self._target.store.write(STATE, self.state.to_json()).result()

    def _write_shard(self, source_index: int) -> str:
        """Writes the buffer as the next shard, in one piece, and returns the digest up to its end."""
        # Chunks of fill values are left out of the shard; as the whole shard is written, none is read before.
        self._buffer[self._filled :] = np.iinfo(self.dtype).max
        start = self.state.shards * len(self._buffer)
        with storage.explained(self._target.url, field=FIELD, needed=self._bytes_needed(source_index)):
            self._array[start : start + len(self._buffer)].write(self._buffer).result()
        return chained(self.state.digest, self._buffer[: self._filled].tobytes())

    def _bytes_needed(self, source_index: int) -> int:
        """Bytes yet to be written: this shard, and as many more as the sources not yet read let expect."""
        done = sum(file.size for file in self._files[: source_index + 1])
        left = sum(file.size for file in self._files[source_index + 1 :])
        tokens = self._filled + (self.tokens * left // done if done else 0)
        return tokens * self.dtype.itemsize
