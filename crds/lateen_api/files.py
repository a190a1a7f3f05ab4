"""Files that are replaced as a whole, and folders that a job names."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_FILE_URL = "file://"


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


def resolve_folder(place: str, base: Path) -> str:
    """A folder that a job names, as an absolute path; a URL of another scheme than file stays as it is.

    Args:
        place: path or URL. `~` is the home directory.
        base: folder that a relative path is below.
    """
    scheme, path = (place[: len(_FILE_URL)], place[len(_FILE_URL) :]) if _is_file_url(place) else ("", place)
    if "://" in path:
        return place
    return scheme + os.path.normpath((base / Path(path).expanduser()).absolute())


def local_folder(place: str) -> Path | None:
    """The path of a folder that a job names; None: it is not on this machine."""
    path = place[len(_FILE_URL) :] if _is_file_url(place) else place
    return None if "://" in path else Path(path).expanduser()


def _is_file_url(place: str) -> bool:
    return place[: len(_FILE_URL)].lower() == _FILE_URL
