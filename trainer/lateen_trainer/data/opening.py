"""Opening a source file as a stream of the bytes that were meant."""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import fsspec

from lateen_trainer.data.source import SourceFile

_GZIP = b"\x1f\x8b"


@contextmanager
def open_source(file: SourceFile) -> Iterator[IO[bytes]]:
    """The stored bytes of a file.

    An object whose Content-Encoding is gzip is decompressed on its way here, so that the size it is listed with is not
    that of what arrives: reading it by ranges would end too early. It is fetched in one piece.
    """
    if file.is_transcoded and not file.url.lower().startswith(("http://", "https://")):
        filesystem, path = fsspec.url_to_fs(file.path)
        with tempfile.TemporaryDirectory(prefix="lateen-") as folder:
            copy = Path(folder, "content")
            filesystem.get_file(path, str(copy), concurrency=1)
            with copy.open("rb") as stream:
                yield stream
    else:
        with fsspec.open(file.path, "rb") as stream:
            yield cast(IO[bytes], stream)


def unwrapped(stream: IO[bytes], file: SourceFile, compression: str) -> tuple[IO[bytes], str]:
    """The stream and how it is compressed, where a server may have decompressed a `.gz` file already."""
    if compression != ".gz" or not file.is_transcoded:
        return stream, compression
    head = stream.read(len(_GZIP))
    joined = io.BufferedReader(Joined(head, stream))
    return joined, compression if head == _GZIP or not head else ""


@contextmanager
def seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """The stream, or a temporary copy of it where one cannot seek in it: formats with a directory at their end are
    not read from front to back."""
    if _can_seek(stream):
        yield stream
        return
    with tempfile.TemporaryFile(prefix="lateen-") as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
        copy.seek(0)
        yield cast(IO[bytes], copy)


def _can_seek(stream: IO[bytes]) -> bool:
    """Whether seeking works, and costs no more than reading there."""
    if not stream.seekable() or isinstance(stream, zipfile.ZipExtFile):
        return False
    try:
        # What fsspec makes of a web server without ranges says that it can, and cannot.
        stream.seek(0, io.SEEK_END)
        stream.seek(0)
    except (OSError, ValueError):
        return False
    return True


class Joined(io.RawIOBase):
    """A beginning that was read already, and the rest of a stream."""

    def __init__(self, head: bytes, rest: IO[bytes]):
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        chunk, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        chunk = chunk or self._rest.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)
