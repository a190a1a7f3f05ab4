"""`python-stdlib://`: sources of the running Python's standard library, a corpus that every machine has."""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from lateen_trainer.data.source import SourceFile

SCHEME = "python-stdlib"
_FOREIGN = frozenset({"site-packages", "dist-packages", "__pycache__"})
"""Folders below the standard library that are not part of it."""


def paths(root: Path | None = None) -> Iterator[str]:
    """Files of the standard library, relative to its folder. Links are left out, and so not followed."""
    root = root or library()
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if name not in _FOREIGN)
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(root).as_posix()


def source_file(relative: str, root: Path | None = None) -> SourceFile:
    """One of `paths`. Its stamp is its content's digest: it is the same file whenever it was installed."""
    path = (root or library()) / relative
    content = path.read_bytes()
    return SourceFile(
        url=f"{SCHEME}://{relative}",
        path=str(path),
        size=len(content),
        stamp=hashlib.sha256(content).hexdigest()[:16],
    )


def library() -> Path:
    """Folder of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))
