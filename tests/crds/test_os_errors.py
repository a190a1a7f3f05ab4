import errno
import os

import pytest
from lateen_api.os_errors import cause, exit_code, explain
from lateen_api.termination import ExitCode

USER = os.geteuid()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "the disk is full. Make room, or pray."),
        (errno.EDQUOT, f"the disk quota of user {USER} is used up. Delete files or ask for a larger quota, or pray."),
        (errno.EROFS, "the file system is mounted read-only. Mount it for writing, or pray."),
        (
            errno.EACCES,
            f"user {USER} may not read or write there. Change the permissions of the file and its folders, or pray.",
        ),
        (
            errno.EPERM,
            f"the system forbids it to user {USER} (immutable file, security policy). Permit it, or pray.",
        ),
        (
            errno.EIO,
            "the disk reports an input/output error. Look into the system's log (`dmesg`), check the disk, or pray.",
        ),
        (
            errno.ENAMETOOLONG,
            "the name is too long: file systems take 255 bytes in most cases. Choose a shorter one.",
        ),
        (errno.ENOTDIR, "a part of it is a file: expected a folder. Correct the path, or pray."),
        (
            errno.ENFILE,
            "the machine may not open more files. Close other programs, or raise the limit (sysctl fs.file-max).",
        ),
        (errno.ESTALE, "the network file system no longer knows the file. Mount it again, or pray."),
        (errno.ELOOP, "symbolic links lead in a circle. Correct them, or pray."),
        (errno.ENOENT, None),
        (None, None),
    ],
)
def test_each_cause_has_its_own_words(number: int | None, text: str | None):
    assert cause(number, elsewhere="pray") == text


def test_a_full_disk_is_told_with_what_is_free(tmp_path):
    words = explain(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a")))
    assert words.startswith(f"{tmp_path}/a: the disk is full: ")
    assert words.endswith(" bytes are free. Make room, or name a place elsewhere.")


def test_another_error_says_what_the_system_says():
    assert explain(OSError(errno.EADDRINUSE, "no 2 free TCP ports")) == "no 2 free TCP ports."


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, ExitCode.USER_ERROR),
        (errno.EMFILE, ExitCode.USER_ERROR),
        (errno.EROFS, ExitCode.USER_ERROR),
        (errno.EIO, ExitCode.ERROR),
        (errno.ENFILE, ExitCode.ERROR),
        (errno.EADDRINUSE, ExitCode.ERROR),
    ],
)
def test_no_other_attempt_is_made_where_only_a_person_can_help(number: int, code: ExitCode):
    assert exit_code(OSError(number, "")) is code
