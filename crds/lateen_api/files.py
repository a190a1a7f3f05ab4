"""Files that are replaced as a whole."""

import contextlib
import os
from pathlib import Path


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
