"""From a file to its documents: text files hold one each, JSON lines one a line, tables one a row.

A document comes in pieces of bounded length, so that a corpus in one file needs no more memory than any
other.
"""

import codecs
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

import numpy as np

from lateen_trainer.data.archives import readable, zip_members
from lateen_trainer.data.bad_documents import OnBadDocument, stop
from lateen_trainer.data.chat import ChatFormat, Rendered
from lateen_trainer.data.columnar import arrow_values, parquet_values
from lateen_trainer.data.compression import BrokenStream, decompressed, suffixes
from lateen_trainer.data.kinds import Kind, check_content, kind_of
from lateen_trainer.data.opening import Joined, open_source, seekable, unwrapped
from lateen_trainer.data.record_key import RecordKey
from lateen_trainer.data.records import conversation_records, text_records, without_surrogates
from lateen_trainer.data.source import SourceFile, explained
from lateen_trainer.data.table_documents import table_conversations, table_texts
from lateen_trainer.data.token_files import TokenFormat, npy_tokens, raw_tokens
from lateen_trainer.errors import DataError, UserError

PIECE = 1 << 20
"""Characters (of text) or bytes at which a document is cut into pieces."""

_WITH_CONVERSATIONS = (Kind.JSON_LINES, Kind.PARQUET, Kind.ARROW, Kind.ZIP)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """A document, or a part of a long one."""

    text: str | bytes | np.ndarray | Rendered
    """An array: ids of tokens that exist already."""

    ends_document: bool


def read_documents(
    file: SourceFile,
    *,
    text_key: RecordKey,
    as_bytes: bool,
    field: str,
    tokens: TokenFormat | None = None,
    chat: ChatFormat | None = None,
    on_bad: OnBadDocument = stop,
) -> Iterator[Piece]:
    """The documents of a file, in order, in pieces; documents without any text are left out.

    The suffix says what a file holds: a JSON object per line (`.jsonl`, `.ndjson`, `.json`), a table (`.parquet`,
    `.arrow`, `.feather`), ids of tokens (`.npy`, `.bin`), or further files (`.zip`); all others are text and one
    document. They may be compressed (`.gz`, `.bz2`, `.xz`, `.zst`).

    Bytes that are not UTF-8 reach a tokenizer of bytes as they are. A tokenizer of text gets U+FFFD in their
    place, and one warning a file says where. A byte order mark of UTF-8 at the beginning is left out.

    Text is cut where a line ends between two characters that are not white space. The pre-tokenizers of
    GPT-2 and its successors cut there too, so that pieces give the tokens of the whole.

    Args:
        file: what to read.
        text_key: where the text of a record is.
        as_bytes: pieces are bytes rather than str.
        field: the job's field that names the file, for messages.
        tokens: what ids in files of tokens mean; None: such files are refused.
        chat: how records hold conversations; None: they hold text.
        on_bad: takes documents that cannot be read.

    Raises:
        DataError: the file is cut off or corrupt, or there is no text where it should be.
        UserError: the file cannot be read, or holds something else than its name says.
    """
    reader = _Reader(text_key, as_bytes, field, tokens, chat, on_bad)
    kind = kind_of(file, field=field)
    with explained(field, file.url), open_source(file) as raw:
        if kind is not Kind.ZIP or suffixes(file.url)[1]:
            yield from reader.read(raw, file)
            return
        with seekable(raw) as stream:
            for member, content in zip_members(stream, file):
                name = PurePosixPath(member.url).name
                with readable(file, name):
                    yield from reader.read(content, member)


@dataclass(frozen=True)
class _Reader:
    """Reads files one way. The fields are arguments of `read_documents`."""

    text_key: RecordKey
    as_bytes: bool
    field: str
    tokens: TokenFormat | None
    chat: ChatFormat | None
    on_bad: OnBadDocument

    def read(self, raw: IO[bytes], file: SourceFile) -> Iterator[Piece]:
        """The pieces of a file, or member of an archive, from its stored bytes."""
        kind = kind_of(file, field=self.field)
        try:
            raw, compression = unwrapped(raw, file, suffixes(file.url)[1])
            yield from self._pieces(decompressed(raw, compression), kind, file)
        except BrokenStream as error:
            advice = error.advice or (
                f"It is cut off or corrupt ({file.size:,} bytes): expected a whole file. Copy it again, or exclude it "
                "with a pattern that starts with `!`."
            )
            raise DataError(f"{file.url} cannot be decompressed: {error}. {advice}") from error

    def _pieces(self, stream: IO[bytes], kind: Kind, file: SourceFile) -> Iterator[Piece]:
        if self.chat is not None and kind not in _WITH_CONVERSATIONS:
            raise UserError(
                f"{self.field} names {file.url!r}, which is {kind.value} by its name: conversations (format: chat) are "
                "read from JSON lines (.jsonl), Parquet or Arrow. Convert it, or give it the suffix of what it holds."
            )
        match kind:
            case Kind.ZIP:
                raise DataError(f"{file.url} is a compressed archive: expected the archive itself. Decompress it.")
            case Kind.PARQUET | Kind.ARROW:
                with seekable(stream) as table:
                    yield from self._of_table(table, kind, file)
            case Kind.NPY | Kind.RAW_TOKENS:
                if self.tokens is None:
                    raise UserError(f"{self.field} names {file.url!r}, which holds tokens: expected text.")
                read = npy_tokens if kind is Kind.NPY else raw_tokens
                for run in read(stream, file.url, self.tokens):
                    yield Piece(run.ids, run.ends_document)
            case _:
                yield from self._text_or_json(stream, kind, file)

    def _of_table(self, table: IO[bytes], kind: Kind, file: SourceFile) -> Iterator[Piece]:
        read = parquet_values if kind is Kind.PARQUET else arrow_values
        if self.chat is not None:
            for conversation in table_conversations(read, table, file.url, self.chat, self.on_bad):
                yield Piece(conversation, ends_document=True)
        else:
            for text in table_texts(read, table, file.url, self.text_key, self.on_bad):
                yield from self._document(without_surrogates(text))

    def _text_or_json(self, stream: IO[bytes], kind: Kind, file: SourceFile) -> Iterator[Piece]:
        head = check_content(stream, file, field=self.field, text_key=self.text_key.name, as_bytes=self.as_bytes)
        # A mark of UTF-8 is no part of the text.
        content = io.BufferedReader(Joined(head.removeprefix(codecs.BOM_UTF8), stream), PIECE)
        if self.chat is not None:
            for conversation in conversation_records(content, file.url, self.chat, self.on_bad):
                yield Piece(conversation, ends_document=True)
        elif kind is Kind.JSON_LINES:
            for text in text_records(content, file.url, self.text_key, self.on_bad):
                yield from self._document(text)
        elif self.as_bytes:
            yield from _with_end(_full_pieces(content))
        else:
            yield from _with_end(_cut(_decoded(content, file.url)))

    def _document(self, text: str) -> Iterator[Piece]:
        if self.as_bytes:
            content = text.encode()
            yield from _with_end(content[at : at + PIECE] for at in range(0, len(content), PIECE))
        elif text:
            yield from _with_end(_cut(iter([text])))


def _full_pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Pieces of PIECE bytes, however little a server sends at once: a build that goes on counts pieces."""
    piece = bytearray()
    while chunk := stream.read(PIECE - len(piece)):
        piece += chunk
        if len(piece) == PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _decoded(stream: IO[bytes], url: str) -> Iterator[str]:
    """UTF-8 text of a stream, with U+FFFD for what is none."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    offset = 0
    ended = False
    while not ended:
        chunk = stream.read(PIECE)
        ended = not chunk
        state = decoder.getstate()
        try:
            text = decoder.decode(chunk, final=ended)
        except UnicodeDecodeError as error:
            position = offset - len(state[0]) + error.start
            log.warning("%s is not UTF-8 at byte %d: such bytes become U+FFFD", url, position)
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            decoder.setstate(state)
            text = decoder.decode(chunk, final=ended)
        offset += len(chunk)
        if text:
            yield text


def _cut(chunks: Iterator[str]) -> Iterator[str]:
    """The same text in pieces that end with lines, as far as lines are no longer than a piece."""
    held = ""
    for chunk in chunks:
        held += chunk
        while len(held) > PIECE:
            at = _cut_position(held)
            yield held[:at]
            held = held[at:]
    if held:
        yield held


def _cut_position(text: str) -> int:
    """Where to cut a text longer than a piece: the last good place within it."""
    line_end = text.rfind("\n", 0, PIECE)
    newline = line_end
    while newline > 0:
        if not text[newline - 1].isspace() and not text[newline + 1].isspace():
            return newline + 1
        newline = text.rfind("\n", 0, newline)
    return line_end + 1 if line_end >= 0 else PIECE


def _with_end(pieces: Iterator[str] | Iterator[bytes]) -> Iterator[Piece]:
    """Marks the last piece of a document."""
    held = next(pieces, None)
    if held is None:
        return
    for piece in pieces:
        yield Piece(held, ends_document=False)
        held = piece
    yield Piece(held, ends_document=True)
