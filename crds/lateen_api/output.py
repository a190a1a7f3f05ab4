"""Standard output and error of the command `lateen`: closed, full or unread ones, and text that is not UTF-8.

A name of a file may hold bytes that are not UTF-8. Python keeps them as surrogates, which no stream takes; here they
are written as `\\xff`. A stream that is closed (`>&-`), full (`>/dev/full`) or has no reader any more ends a command
with one line and an exit code, not with a traceback.
"""

import codecs
import errno
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO

from lateen_api import os_errors
from lateen_api.escaping import written
from lateen_api.masking import masked
from lateen_api.termination import ExitCode

ESCAPED = "lateen-escaped"
"""Name of the codec error handler that writes `\\xff` for a byte that is not UTF-8, and `?` for other characters that
the encoding has not got."""

TRACEBACK = "LATEEN_TRACEBACK"
"""Variable: set to anything, an error that lateen has no words for is shown with its traceback."""

STDIN, STDOUT, STDERR = 0, 1, 2


class OutputError(OSError):
    """Standard output cannot be written to."""


def prepare() -> None:
    """Makes the three standard streams ones that can be used, whatever they were."""
    codecs.register_error(ESCAPED, _escape)
    # Descriptors first: a file that is opened later must not become number 1, and get what is printed. The wrong way
    # round, so that writing to a closed stdout fails rather than vanish.
    for number, flags in ((STDIN, os.O_WRONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, flags), number)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(sys.stdout, _Stdout(STDOUT, "w", closefd=False))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(sys.stderr, _Stderr(STDERR, "w", closefd=False))


def run_guarded(command: Callable[[], None], *, show_tracebacks: bool = False) -> NoReturn:
    """Runs a command and exits with its code. What it raises becomes a line on stderr.

    Args:
        command: raises SystemExit, or returns.
        show_tracebacks: errors that lateen has no words for pass: the command's output is a log.
    """
    code: int | str | None = 0
    try:
        try:
            command()
        except SystemExit as leaving:
            code = leaving.code  # type: ignore[assignment]
        sys.stdout.flush()
    except OutputError as error:
        code = _without_output(error, code)
    except OSError as error:
        if error.errno == errno.EPIPE:
            code = _without_output(OutputError(errno.EPIPE, ""), code)
        else:
            _say(os_errors.explain(error))
            code = os_errors.exit_code(error)
    except Exception as error:
        if show_tracebacks or os.environ.get(TRACEBACK):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        _say(
            f"unexpected error: {type(error).__name__}: {error} ({Path(place.filename).name}, line "
            f"{place.lineno}). Set {TRACEBACK}=1 to see where it comes from, and report it."
        )
        code = ExitCode.ERROR
    sys.exit(code)


def _without_output(error: OutputError, code: int | str | None) -> int | str | None:
    """Lets what is still in buffers vanish, and says why, but for a reader who has left: `lateen plan … | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    if error.errno == errno.EBADF:
        _say("standard output is closed: nothing can be written to it.")
    elif error.errno != errno.EPIPE:
        _say(f"standard output cannot be written to: {os_errors.cause(error.errno) or error.strerror}")
    return code or int(ExitCode.ERROR)


def _say(message: str) -> None:
    print(f"lateen: {masked(' '.join(message.split()))}", file=sys.stderr, flush=True)


class _Stdout(io.FileIO):
    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error


class _Stderr(io.FileIO):
    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return len(data)  # there is nobody left to tell


def _stream(old: TextIO | None, raw: io.FileIO) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(old, "encoding", None) or "utf-8",
        errors=ESCAPED,
        line_buffering=getattr(old, "line_buffering", False) or raw.fileno() == STDERR,
        write_through=getattr(old, "write_through", False),
    )


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(written(character) for character in characters), error.end
