"""JSON lines: a text or a conversation per record."""

import json
from collections.abc import Iterator
from typing import IO, Any

from lateen_trainer.data.bad_documents import BadDocumentError, OnBadDocument, good_documents
from lateen_trainer.data.chat import ChatFormat, ConversationError, Rendered
from lateen_trainer.data.record_key import RecordKey


def text_records(stream: IO[bytes], url: str, key: RecordKey, on_bad: OnBadDocument) -> Iterator[str]:
    """The texts of JSON lines."""
    for text in good_documents(_lines(stream), lambda number, line: _text_of(line, number, url, key), on_bad):
        yield without_surrogates(text)


def conversation_records(stream: IO[bytes], url: str, chat: ChatFormat, on_bad: OnBadDocument) -> Iterator[Rendered]:
    """The conversations of JSON lines, rendered."""
    return good_documents(_lines(stream), lambda number, line: _conversation_of(line, number, url, chat), on_bad)


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1 on."""
    return ((number, line) for number, line in enumerate(stream, start=1) if not line.isspace())


def _conversation_of(line: bytes, number: int, url: str, chat: ChatFormat) -> Rendered:
    """The conversation of a JSON record, rendered.

    Raises:
        BadDocumentError: the line is no JSON object, or has no conversation that the template takes.
    """
    key, place = chat.messages_key, f"line {number:,}"
    record = _record_of(line, number, url)
    if key.name not in record:
        raise BadDocumentError(
            f"{url}, line {number}, has no {key.name!r}: expected the messages there. Its fields are "
            f"{sorted(record)!r}; name the right one in {key.field}.",
            place,
        )
    try:
        return chat.encoder.render(record[key.name])
    except ConversationError as error:
        raise BadDocumentError(f"{url}, line {number}, {key.name!r}: {error}.", place) from error


def _text_of(line: bytes, number: int, url: str, key: RecordKey) -> str:
    """The text of a JSON record.

    Raises:
        BadDocumentError: the line is no JSON object, or has no text under the key.
    """
    record = _record_of(line, number, url)
    text = record.get(key.name)
    if not isinstance(text, str):
        problem = f"holds a {type(text).__name__} under {key.name!r}" if key.name in record else f"has no {key.name!r}"
        raise BadDocumentError(
            f"{url}, line {number}, {problem}: expected the text there. Its fields are {sorted(record)!r}; "
            f"name the right one in {key.field}.",
            f"line {number:,}",
        )
    return text


def _record_of(line: bytes, number: int, url: str) -> dict[str, Any]:
    """The JSON object that a line holds.

    Raises:
        BadDocumentError: it holds none.
    """
    place = f"line {number:,}"
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError) as error:  # ValueErrors: UnicodeDecodeError and JSONDecodeError
        raise BadDocumentError(
            f"{url}, line {number}, is not JSON: {error}. Expected one JSON object a line; "
            f"the line begins {line[:60]!r}.",
            place,
        ) from error
    if not isinstance(record, dict):
        raise BadDocumentError(
            f"{url}, line {number}, holds a JSON {type(record).__name__}: expected one JSON object a line.", place
        )
    return record


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for halves of surrogate pairs."""
    # JSON can escape half a surrogate pair ("\ud800"), which is no text and has no UTF-8.
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
