"""Opening compressed files by their suffix. A file that was cut off is an error, not a shorter file."""

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import PurePosixPath
from typing import IO

import zstandard

_CHUNK = 1 << 18

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def is_broken(error: Exception) -> bool:
    """Whether reading raised `error` because the compressed file is cut off or corrupt."""
    # bz2 has no error of its own, and raises this.
    return isinstance(error, _BROKEN) or (type(error) is OSError and str(error) == "Invalid data stream")


def suffixes(name: str) -> tuple[str, str]:
    """Suffix of the content and of the compression of a file's name: `a.jsonl.gz` → (`.jsonl`, `.gz`)."""
    path = PurePosixPath(name.lower())
    if path.suffix in SUFFIXES:
        return path.with_suffix("").suffix, path.suffix
    return path.suffix, ""


def decompressed(raw: IO[bytes], suffix: str) -> IO[bytes]:
    """A binary stream of the content of `raw`, which is compressed as `suffix` says (empty: not at all)."""
    match suffix:
        case ".gz":
            return gzip.GzipFile(fileobj=raw, mode="rb")  # type: ignore[return-value]
        case ".bz2":
            return bz2.BZ2File(raw, "rb")
        case ".xz":
            return lzma.LZMAFile(raw, "rb")
        case ".zst":
            return io.BufferedReader(_ZstdReader(raw), _CHUNK)
    return raw


class _ZstdReader(io.RawIOBase):
    """Reads all frames of a Zstandard stream. The library's own reader takes a cut-off stream for its end."""

    def __init__(self, raw: IO[bytes]):
        self._raw = raw
        self._frame = None
        self._compressed = b""
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._pending:
            if not self._compressed:
                self._compressed = self._raw.read(_CHUNK)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("the Zstandard stream ends in the middle of a frame")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._pending = memoryview(self._frame.decompress(self._compressed))
            self._compressed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count
