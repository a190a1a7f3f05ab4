"""Files that are replaced as a whole."""

import contextlib
import os
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
        with open(draft, "w", encoding="utf-8", opener=_for_the_user_alone if private else None) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _for_the_user_alone(path: str, flags: int) -> int:
    """An opener for `open`: nobody else may read the file, from its first byte on."""
    return os.open(path, flags, 0o600)
