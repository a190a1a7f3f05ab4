"""Zip archives: each member is a file of its own, in the order of the members' names."""

import logging
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from lateen_trainer.data.source import SourceFile
from lateen_trainer.errors import DataError

SUFFIX = ".zip"

_ENCRYPTED = 1
"""Bit of a member's flags. APPNOTE.TXT, section 4.4.4."""

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)

log = logging.getLogger(__name__)


def zip_members(stream: IO[bytes], file: SourceFile) -> Iterator[tuple[SourceFile, IO[bytes]]]:
    """The members of an archive, each to be read before the next is taken.

    Members that globs would not find either (hidden ones, `__MACOSX/`) are left out, with a warning.

    Args:
        stream: the archive; it can seek.
        file: what it is.

    Raises:
        DataError: the archive or a member is cut off, corrupt, encrypted or nested, or there is no member.
    """
    with readable(file):
        archive = zipfile.ZipFile(stream)
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        wanted = sorted((m for m in members if not _is_hidden(m.filename)), key=lambda member: member.filename)
        if len(wanted) < len(members):
            log.warning("%s: %d hidden members are not read", file.url, len(members) - len(wanted))
        if not wanted:
            raise DataError(f"{file.url} has no member to read: expected files in it. Exclude it, or write it again.")
        for member, following in zip(wanted, [*wanted[1:], None], strict=True):
            if following is not None and member.filename == following.filename:
                raise DataError(
                    f"{file.url} has two members called {member.filename!r}: expected one of each name. Write it again."
                )
            _check_member(member, file)
        for member in wanted:
            inner = replace(file, url=member_url(file.url, member.filename), size=member.file_size)
            with readable(file, member.filename):
                content = archive.open(member)
            with content:
                yield inner, content


@contextmanager
def readable(file: SourceFile, member: str | None = None) -> Iterator[None]:
    """Turns what reading an archive raises into an error that names it and the member."""
    try:
        yield
    except _DAMAGED as error:
        where = file.url if member is None else f"{file.url}, member {member!r},"
        said = str(error).rstrip(".") or type(error).__name__
        raise DataError(
            f"{where} cannot be unpacked: {said}. It is cut off or corrupt ({file.size:,} bytes): expected a "
            "whole zip archive. Copy it again, or exclude it with a pattern that starts with `!`."
        ) from error


def member_url(archive: str, name: str) -> str:
    """What messages call a member: its path below the archive's, before the query of an http URL."""
    if archive.lower().startswith(("http://", "https://")):
        parts = urlsplit(archive)
        return urlunsplit(parts._replace(path=f"{parts.path}/{name}"))
    return f"{archive}/{name}"


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _check_member(member: zipfile.ZipInfo, file: SourceFile) -> None:
    where = f"{file.url}, member {member.filename!r},"
    if member.flag_bits & _ENCRYPTED:
        raise DataError(f"{where} is encrypted: expected one that needs no password. Write the archive without.")
    if PurePosixPath(member.filename.lower()).suffix == SUFFIX:
        raise DataError(f"{where} is an archive too: expected files of text. Unpack the outer one.")
    if member.compress_type not in _METHODS:
        raise DataError(
            f"{where} is compressed by method {member.compress_type}, which cannot be read: expected deflate, bzip2 or "
            "LZMA. Write the archive again."
        )
