"""Files that are replaced as a whole."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def replace_text(path: Path, text: str, *, private: bool = False) -> None:
    """Writes a file that is either the old one or the new one at any moment, also after a power cut.

    Args:
        path: the file.
        text: its new content.
        private: nobody but the user may read it (mode 600).

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Names of files may hold bytes that are not UTF-8. `\\udcff` is what JSON escapes them as, and reads back.
        with open(
            draft, "w", encoding="utf-8", errors="backslashreplace", opener=_for_the_user_alone if private else None
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        # A failed write does not say of which file, and a failed rename names the draft.
        error.filename, error.filename2 = str(path), None
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Lets an error of writing say of which file it is: the system does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _for_the_user_alone(path: str, flags: int) -> int:
    """An opener for `open`: nobody else may read the file, from its first byte on."""
    return os.open(path, flags, 0o600)
