"""What a file holds, by its name and by its first bytes. Nothing becomes text only because its name is not known."""

import codecs
import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import IO

from lateen_trainer.data.compression import suffixes
from lateen_trainer.data.source import SourceFile
from lateen_trainer.errors import UserError

HEAD = 1 << 12
"""Bytes that are looked at."""


class Kind(Enum):
    """How a file is read."""

    TEXT = "text"
    JSON_LINES = "JSON lines"
    PARQUET = "Parquet"
    ARROW = "Arrow"
    NPY = "a .npy array"
    RAW_TOKENS = "raw tokens"
    ZIP = "a zip archive"


_KINDS = {
    ".jsonl": Kind.JSON_LINES,
    ".ndjson": Kind.JSON_LINES,
    ".json": Kind.JSON_LINES,
    ".parquet": Kind.PARQUET,
    ".arrow": Kind.ARROW,
    ".feather": Kind.ARROW,
    ".npy": Kind.NPY,
    ".bin": Kind.RAW_TOKENS,
    ".zip": Kind.ZIP,
}
"""By suffix; all others are text."""

DELIMITED = (".csv", ".tsv")
"""Tables of values between commas or tabs."""

_NOT_TEXT = (*DELIMITED, ".tar", ".tgz", ".npz", ".pdf", ".pkl", ".pt")

_COMPRESSED = "is compressed. Give it the suffix {suffix}, or decompress it."
_READ = "text, JSON lines (.jsonl), Parquet, Arrow or tokens (.npy, .bin)"
_CONVERT = f"cannot be read, expected {_READ}. Convert it."
_NAME = "is not read as one by this name. Give it the suffix {suffix}."
_ENCODED = "is not UTF-8. Convert it, for instance by `iconv -f {encoding} -t UTF-8`."


@dataclass(frozen=True)
class _Signature:
    """First bytes by which a format is known, and what is to be done about it."""

    begins: bytes
    """A regular expression. Where text may begin with the letters of a format, it wants more than these."""

    what: str
    advice: str
    at: int = 0


_SIGNATURES = (
    _Signature(rb"\x1f\x8b\x08", "gzip data", _COMPRESSED.format(suffix=".gz")),
    _Signature(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "bzip2 data", _COMPRESSED.format(suffix=".bz2")),
    _Signature(rb"\xfd7zXZ\0", "xz data", _COMPRESSED.format(suffix=".xz")),
    _Signature(rb"\x28\xb5\x2f\xfd", "Zstandard data", _COMPRESSED.format(suffix=".zst")),
    _Signature(rb"\x04\x22\x4d\x18", "LZ4 data", _CONVERT),
    _Signature(rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _CONVERT),
    _Signature(rb"Rar!\x1a\x07", "a RAR archive", _CONVERT),
    _Signature(rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive", _NAME.format(suffix=".zip")),
    # The header of a page follows, whose first byte is a control character.
    _Signature(rb"PAR[1E][\0-\x08\x0e-\x1f]", "a Parquet file", _NAME.format(suffix=".parquet")),
    _Signature(rb"ARROW1\0\0", "an Arrow file", _NAME.format(suffix=".arrow")),
    _Signature(rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _CONVERT),
    _Signature(rb"\x93NUMPY", "a NumPy array", _NAME.format(suffix=".npy")),
    _Signature(rb"%PDF-", "a PDF file", _CONVERT),
    _Signature(rb"SQLite format 3\0", "an SQLite database", _CONVERT),
    _Signature(rb"ustar", "a tar archive", _CONVERT, at=257),
    # Before UTF-16, whose mark it begins with.
    _Signature(codecs.BOM_UTF32_LE, "text in UTF-32", _ENCODED.format(encoding="UTF-32")),
    _Signature(codecs.BOM_UTF32_BE, "text in UTF-32", _ENCODED.format(encoding="UTF-32")),
    _Signature(codecs.BOM_UTF16_LE, "text in UTF-16", _ENCODED.format(encoding="UTF-16")),
    _Signature(codecs.BOM_UTF16_BE, "text in UTF-16", _ENCODED.format(encoding="UTF-16")),
)


def kind_of(file: SourceFile, *, field: str) -> Kind:
    """How the file is read, by its name.

    Raises:
        UserError: the name is one of a kind that cannot be read.
    """
    content, _ = suffixes(file.url)
    if content in _NOT_TEXT:
        raise UserError(
            f"{field} names {file.url!r}: files of the kind {content} cannot be read, expected {_READ}, compressed or "
            "not. Convert it, or leave it out by a pattern that starts with `!`."
        )
    return _KINDS.get(content, Kind.TEXT)


def check_content(stream: IO[bytes], file: SourceFile, *, field: str, text_key: str, as_bytes: bool) -> bytes:
    """Reads the beginning of a file of text or JSON lines, and returns it.

    Args:
        stream: the content, decompressed.
        file: what it is of.
        field: the job's field that names the file, for messages.
        text_key: field of a JSON record that holds the text.
        as_bytes: the tokenizer is one of bytes, which takes any.

    Raises:
        UserError: it is not what the file's name says.
    """
    head = _read_head(stream)
    found = next((one for one in _SIGNATURES if re.compile(one.begins).match(head, one.at)), None)
    if found is not None:
        raise UserError(f"{field} names {file.url!r}, which holds {found.what}: it {found.advice}")
    if kind_of(file, field=field) is Kind.JSON_LINES:
        return head
    if not as_bytes and b"\0" in head:
        raise UserError(
            f"{field} names {file.url!r}, which holds a zero byte (at byte {head.index(0):,}): it is no text, or text "
            "in UTF-16. Convert it to UTF-8, or leave it out by a pattern that starts with `!`."
        )
    if _is_record(head, text_key):
        raise UserError(
            f"{field} names {file.url!r}, which begins with a JSON record that has {text_key!r}, and would be read as "
            "one text by its name. Give it the suffix .jsonl."
        )
    return head


def _read_head(stream: IO[bytes]) -> bytes:
    head = b""
    while len(head) < HEAD and (chunk := stream.read(HEAD - len(head))):
        head += chunk
    return head


def _is_record(head: bytes, text_key: str) -> bool:
    """Whether the first line is a JSON object with text under `text_key`."""
    line = head.partition(b"\n")[0]
    if not line.lstrip(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return False
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        # A long line goes on behind what was read.
        return len(head) == HEAD and b"\n" not in head and line.lstrip().startswith(f'{{"{text_key}": "'.encode())
    return isinstance(record, dict) and isinstance(record.get(text_key), str)
