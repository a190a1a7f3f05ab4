"""Building a part of a cache: its documents are tokenised, and an end-of-text token is put behind each."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from lateen_trainer.data.bad_documents import SkippedDocuments, stop
from lateen_trainer.data.chat import ChatEncoder, ChatFormat, Rendered
from lateen_trainer.data.documents import Piece, read_documents
from lateen_trainer.data.layout import token_dtype
from lateen_trainer.data.ledger import BuildState, Record
from lateen_trainer.data.parts import Part
from lateen_trainer.data.record_key import RecordKey
from lateen_trainer.data.token_files import TokenFormat
from lateen_trainer.data.tokenizer import Tokenizer
from lateen_trainer.data.unchanged import check_unchanged
from lateen_trainer.data.writer import PartWriter, Target, Tokens

_BATCH = 4 << 20
"""Characters that are tokenised in one call: enough to occupy all cores, little enough to hold in memory."""

_BATCHES_AHEAD = 2
"""While one batch is encoded, the next is read."""


@dataclass(frozen=True)
class Reading:
    """How files become documents, and documents tokens."""

    tokenizer: Tokenizer
    text_key: RecordKey
    """Where the text of a record is."""

    field: str
    """The job's field that names the files, for messages."""

    dtype: str | None = None
    """`spec.data.dtype`."""

    skip_bad: bool = False
    """Leave bad documents out, and say so in the record, rather than end at the first."""

    chat: ChatFormat | None = None
    """How records hold conversations; None: they hold text."""


@dataclass(frozen=True)
class PartProgress:
    """How far the build of a part, or of several, has come."""

    files: int = 0
    """Of which all, or the beginning, is tokenised."""

    tokens: int = 0
    documents: int = 0
    skipped: int = 0
    """Bad documents that were left out."""

    def __add__(self, other: "PartProgress") -> "PartProgress":
        return PartProgress(
            self.files + other.files,
            self.tokens + other.tokens,
            self.documents + other.documents,
            self.skipped + other.skipped,
        )


def build_part(
    part: Part,
    reading: Reading,
    target: Target,
    *,
    progress: Callable[[PartProgress], None],
    bytes_elsewhere: int = 0,
) -> Record:
    """Builds a part, or completes one that was begun, and returns its record.

    Args:
        part: what to read.
        reading: how.
        target: where the tokens go.
        progress: called with where the work is. What it raises ends the build, which can be gone on with.
        bytes_elsewhere: bytes of source files that are yet to be read besides the part's.

    Raises:
        UserError: a source or the cache's folder cannot be used, or the disk is full.
        DataError: a source is broken, or changed meanwhile.
    """

    def bytes_needed(source: int, tokens: int) -> int:
        """Bytes yet to be written: what the sources that are not yet read let expect."""
        done = sum(file.size for file in part.files[: source - part.first + 1])
        left = part.size - done + bytes_elsewhere
        return (tokens + (tokens * left // done if done else 0)) * target.dtype.itemsize

    tokenizer = reading.tokenizer
    writer = PartWriter(target, part.number, part.first, bytes_needed)
    first = writer.state
    form = TokenFormat(tokenizer.vocab_size, tokenizer.eos_id, reading.dtype)
    read = partial(
        read_documents,
        text_key=reading.text_key,
        as_bytes=tokenizer.takes_bytes,
        field=reading.field,
        tokens=form,
        chat=reading.chat,
    )
    pieces = _pieces(part, first, read, writer.skipped if reading.skip_bad else None)
    for piece in _tokenized(pieces, reading):
        at_first = (piece.source, piece.piece) == (first.source, first.piece)
        writer.append(piece, skip=first.skip if at_first else 0)
        done = piece.source - part.first + 1
        progress(PartProgress(done, writer.tokens, writer.documents, writer.skipped.count))
    check_unchanged(part.files, field=reading.field, discard=writer.discard)
    return writer.finish(part.first + len(part.files) - 1)


def _pieces(
    part: Part,
    state: BuildState,
    read: Callable[..., Iterator[Piece]],
    skipped: SkippedDocuments | None,
) -> Iterator[tuple[int, int, Piece]]:
    """(index of the file, index in it, piece) of all text of the part from `state` on.

    Args:
        read: `read_documents`, but for the file and what takes bad documents.
        skipped: counts bad documents; None: they are errors.
    """
    for number in range(state.source, part.first + len(part.files)):
        file = part.files[number - part.first]
        on_bad = stop if skipped is None else skipped.collect(number, file.url)
        pieces = enumerate(read(file, on_bad=on_bad))
        begin = state.piece if number == state.source else 0
        for index, piece in itertools.islice(pieces, begin, None):
            yield number, index, piece


def _tokenized(pieces: Iterable[tuple[int, int, Piece]], reading: Reading) -> Iterator[Tokens]:
    """The tokens of the pieces, in order."""
    chat = reading.chat
    encode = partial(_of_text, reading.tokenizer) if chat is None else partial(_of_conversations, chat.encoder)
    for batch in _in_order(encode, _batches(pieces)):
        yield from batch


def _of_text(tokenizer: Tokenizer, batch: list[tuple[int, int, Piece]]) -> list[Tokens]:
    """The tokens of pieces of text, in order."""
    end_of_text = np.array([tokenizer.eos_id], token_dtype(tokenizer.vocab_size))
    texts = [piece.text for _, _, piece in batch if isinstance(piece.text, str | bytes)]
    from_text = iter(tokenizer.encode_batch(texts) if texts else [])
    encoded = [
        piece.text.astype(end_of_text.dtype) if isinstance(piece.text, np.ndarray) else next(from_text)
        for _, _, piece in batch
    ]
    return [
        Tokens(
            number,
            index,
            piece.ends_document,
            np.concatenate([tokens, end_of_text]) if piece.ends_document else tokens,
        )
        for (number, index, piece), tokens in zip(batch, encoded, strict=True)
    ]


def _of_conversations(encoder: ChatEncoder, batch: list[tuple[int, int, Piece]]) -> list[Tokens]:
    """The tokens of conversations, in order, each with its end of text."""
    encoded = encoder.encode([piece.text for _, _, piece in batch if isinstance(piece.text, Rendered)])
    return [
        Tokens(number, index, piece.ends_document, conversation.ids, conversation.counted)
        for (number, index, piece), conversation in zip(batch, encoded, strict=True)
    ]


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
