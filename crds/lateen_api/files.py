"""Files that are replaced as a whole, and folders that a job names."""

import contextlib
import os
from pathlib import Path

_FILE_URL = "file://"


def replace_text(path: Path, text: str) -> None:
    """Writes a file that is either the old one or the new one at any moment, also after a power cut.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


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
