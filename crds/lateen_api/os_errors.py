"""What the operating system refuses, as a cause and what to do: one table for all files that are read or written."""

import errno
import os
import resource
import shutil
from pathlib import Path

from lateen_api.termination import ExitCode

DEFAULT_ELSEWHERE = "name a place elsewhere"

_CAUSES = {
    errno.ENOSPC: "the disk is full{free}. Make room, or {elsewhere}.",
    errno.EDQUOT: "the disk quota of user {user} is used up. Delete files or ask for a larger quota, or {elsewhere}.",
    errno.EFBIG: "the file may not grow: the limit is {file_size} bytes. Raise it (`ulimit -f`), or {elsewhere}.",
    errno.EMFILE: "the process may not open more files: its limit is {files}. Raise it (`ulimit -n 4096`).",
    errno.ENFILE: "the machine may not open more files. Close other programs, or raise the limit (sysctl fs.file-max).",
    errno.EROFS: "the file system is mounted read-only. Mount it for writing, or {elsewhere}.",
    errno.EACCES: "user {user} may not read or write there. Change the permissions of the file and its folders, or "
    "{elsewhere}.",
    errno.EPERM: "the system forbids it to user {user} (immutable file, security policy). Permit it, or {elsewhere}.",
    errno.EIO: "the disk reports an input/output error. Look into the system's log (`dmesg`), check the disk, or "
    "{elsewhere}.",
    errno.ESTALE: "the network file system no longer knows the file. Mount it again, or {elsewhere}.",
    errno.ENAMETOOLONG: "the name is too long: file systems take 255 bytes in most cases. Choose a shorter one.",
    errno.ENOTDIR: "a part of it is a file: expected a folder. Correct the path, or {elsewhere}.",
    errno.ELOOP: "symbolic links lead in a circle. Correct them, or {elsewhere}.",
    errno.ENOMEM: "the machine has no memory left. Close other programs.",
    errno.EAGAIN: "the machine starts no more processes for user {user}. Close some, or raise the limit (`ulimit -u`).",
}
_MAY_PASS = frozenset({errno.EIO, errno.ESTALE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""Errors of the machine: another attempt, perhaps on another machine, may go well."""


def cause(number: int | None, place: str | Path | None = None, *, elsewhere: str = DEFAULT_ELSEWHERE) -> str | None:
    """The cause that an error number stands for, and what to do about it; None: it is not in the table.

    Args:
        number: `errno` of an error.
        place: path of the file or folder, for the bytes that are free there.
        elsewhere: how another place is chosen, as in "Make room, or …".
    """
    text = _CAUSES.get(number or 0)
    if text is None:
        return None
    return text.format(
        elsewhere=elsewhere,
        user=os.geteuid(),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        file_size=f"{resource.getrlimit(resource.RLIMIT_FSIZE)[0]:,}",
        free="" if place is None else f": {free_bytes(place)} bytes are free",
    )


def explain(error: OSError, *, elsewhere: str = DEFAULT_ELSEWHERE) -> str:
    """`file: cause. What to do.`; for a number that is not in the table, what the system says."""
    place = None if error.filename is None else os.fsdecode(error.filename)
    text = cause(error.errno, place, elsewhere=elsewhere) or f"{error.strerror or error}."
    return text if place is None else f"{place}: {text}"


def is_known(error: OSError) -> bool:
    """Is the error in the table, and of a file rather than a socket?"""
    return error.errno in _CAUSES and not isinstance(error, BlockingIOError)


def exit_code(error: OSError) -> ExitCode:
    """USER_ERROR where only a person can help, so that no other attempt is made; ERROR where it may pass."""
    return ExitCode.USER_ERROR if is_known(error) and not may_pass(error.errno) else ExitCode.ERROR


def may_pass(number: int | None) -> bool:
    """Is it an error of the machine, so that another attempt may go well?"""
    return number in _MAY_PASS


def free_bytes(place: str | Path) -> str:
    """Free bytes of the disk that holds a path, which need not exist: `1,234`; `no` where that is unknown."""
    path = Path(place).absolute()
    try:
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        return f"{shutil.disk_usage(existing).free:,}"
    except OSError:
        return "no"
