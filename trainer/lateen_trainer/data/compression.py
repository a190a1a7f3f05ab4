"""Opening compressed files by their suffix. A file that is cut off or damaged anywhere is an error, not a shorter file.

A compressed file is one stream or several joined ones, as `cat a.gz b.gz` makes them. The readers of Python's standard
library end quietly at bytes behind a stream that begin no other one; here those are an error that names their offset.
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

import zstandard

_CHUNK = 1 << 18

_LARGEST_ZSTD_WINDOW = 1 << 31
"""Bytes: what `zstd --long=31` uses, the largest that the format's own tool writes. The library's limit is 2^27."""


_FRAME_HEADER = 18
"""Bytes of the longest header of a Zstandard frame."""


class BrokenStream(Exception):
    """A compressed file is cut off, damaged, or followed by something else.

    Args:
        offset: of the compressed file, in bytes: where the stream that cannot be read begins.
        reason: what is wrong with it.
        advice: what was expected and what to do, where the stream is whole.
    """

    def __init__(self, offset: int, reason: str, advice: str = ""):
        super().__init__(f"{reason} (in the stream that begins at byte {offset:,})")
        self.offset = offset
        self.advice = advice


class _Decoder(Protocol):
    """Decompresses one stream. What it leaves of its input stands in `unconsumed_tail` (zlib), or it keeps that and
    says by `needs_input` that it can go on without more (bz2, lzma)."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, /, *max_length: int) -> bytes: ...


@dataclass(frozen=True)
class _Format:
    make: Callable[[], Any]
    errors: tuple[type[Exception], ...]
    bound: tuple[int, ...] = (_CHUNK,)
    """Bytes that a call of `decompress` gives at the most, where it takes such an argument: a megabyte of blanks
    needs no more memory than one of text."""
    padding: int = 0
    """Zero bytes that may follow a stream come in multiples of this; 0: none may."""
    unsupported: Callable[[bytes], tuple[str, str] | None] = lambda header: None
    """What a whole stream asks for that cannot be given, and what to do about it, by its first bytes."""


def _unsupported_frame(header: bytes) -> tuple[str, str] | None:
    """RFC 8878, section 3.1.1: a frame states its window, and the dictionary that it was compressed with."""
    if len(header) < 6 or not header.startswith(zstandard.FRAME_HEADER):
        return None
    exponent, mantissa = divmod(header[5], 8)
    window = (1 << 10 + exponent) // 8 * (8 + mantissa)
    is_single_segment = bool(header[4] & 0x20)  # such a frame has no window of its own
    if not is_single_segment and window > _LARGEST_ZSTD_WINDOW:
        return (
            f"its window is {window:,} bytes",
            f"Expected at most {_LARGEST_ZSTD_WINDOW:,}. Compress it again by `zstd --long=27`.",
        )
    try:
        dictionary = zstandard.get_frame_parameters(header).dict_id
    except zstandard.ZstdError:
        return None  # the decoder says what is wrong
    if dictionary:
        return f"it needs the dictionary {dictionary}, which is not in it", "Compress it again without a dictionary."
    return None


_FORMATS = {
    # gzip itself ignores zeros at the end: tapes were padded with them.
    ".gz": _Format(lambda: zlib.decompressobj(wbits=31), (zlib.error,), padding=1),
    ".bz2": _Format(bz2.BZ2Decompressor, (OSError, ValueError)),
    # Section 2.2 of the .xz file format: stream padding.
    ".xz": _Format(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), (lzma.LZMAError,), padding=4),
    ".zst": _Format(
        lambda: zstandard.ZstdDecompressor(max_window_size=_LARGEST_ZSTD_WINDOW).decompressobj(),
        (zstandard.ZstdError,),
        bound=(),
        unsupported=_unsupported_frame,
    ),
}

SUFFIXES = tuple(_FORMATS)


def suffixes(url: str) -> tuple[str, str]:
    """Suffix of the content and of the compression of a file: `a.jsonl.gz` → (`.jsonl`, `.gz`).

    In an http URL the path has them; its query and fragment may hold anything.
    """
    name = urlsplit(url).path if url.lower().startswith(("http://", "https://")) else url
    path = PurePosixPath(name.lower())
    if path.suffix in SUFFIXES:
        return path.with_suffix("").suffix, path.suffix
    return path.suffix, ""


def decompressed(raw: IO[bytes], suffix: str) -> IO[bytes]:
    """A binary stream of the content of `raw`, which is compressed as `suffix` says (empty: not at all).

    Reading it raises BrokenStream.
    """
    if not suffix:
        return raw
    return io.BufferedReader(_Streams(raw, _FORMATS[suffix]), _CHUNK)


class _Streams(io.RawIOBase):
    """Reads all streams of a compressed file."""

    def __init__(self, raw: IO[bytes], kind: _Format):
        self._raw = raw
        self._kind = kind
        self._decoder: _Decoder | None = None
        self._begins = 0
        """Offset at which the present stream begins."""
        self._offset = 0
        """Bytes that were taken from `raw` and are not in `_compressed`."""
        self._compressed = b""
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._pending:
            if not self._compressed and getattr(self._decoder, "needs_input", True) and not self._fill():
                return 0
            if self._decoder is None and not self._begin():
                continue
            self._decode()
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def _fill(self) -> bool:
        """Takes more of the file. False: it ended where it may."""
        self._compressed = self._raw.read(_CHUNK)
        if self._compressed:
            return True
        if self._decoder is not None:
            raise BrokenStream(self._begins, "the file ends in the middle of a stream")
        if self._offset == 0:
            # An upload that was cut off leaves such a file; an empty text has a header when it is compressed.
            raise BrokenStream(0, "the file is empty")
        self._check_padding()
        return False

    def _begin(self) -> bool:
        """Begins a stream, behind padding if there is any. False: all that there is so far is padding."""
        if self._kind.padding and self._offset > 0:
            rest = self._compressed.lstrip(b"\0")
            self._offset += len(self._compressed) - len(rest)
            self._compressed = rest
            if not rest:
                return False
            self._check_padding()
        self._begins = self._offset
        if (found := self._kind.unsupported(self._compressed[:_FRAME_HEADER])) is not None:
            raise BrokenStream(self._begins, *found)
        self._decoder = self._kind.make()
        return True

    def _check_padding(self) -> None:
        unit = self._kind.padding
        if unit and (self._offset - self._begins) % unit:
            raise BrokenStream(self._begins, f"its padding is not a multiple of {unit} bytes")

    def _decode(self) -> None:
        assert self._decoder is not None
        try:
            self._pending = memoryview(self._decoder.decompress(self._compressed, *self._kind.bound))
        except self._kind.errors as error:
            raise BrokenStream(self._begins, str(error)) from error
        rest = self._decoder.unused_data if self._decoder.eof else getattr(self._decoder, "unconsumed_tail", b"")
        self._offset += len(self._compressed) - len(rest)
        self._compressed = rest
        if self._decoder.eof:
            self._decoder = None
            self._begins = self._offset
