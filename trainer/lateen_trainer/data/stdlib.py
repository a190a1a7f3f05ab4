"""`python-stdlib://`: sources of the running Python's standard library, a corpus that every machine has."""

import hashlib
import os
import stat
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from lateen_trainer.data.source import SourceFile

SCHEME = "python-stdlib"
_FOREIGN = frozenset({"site-packages", "dist-packages", "__pycache__"})
"""Folders below the standard library that are not part of it."""


def find(matches: Callable[[str], object], root: Path | None = None) -> Iterator[SourceFile]:
    """The files whose URL `matches`. Links are left out, and so not followed.

    A file's stamp is the digest of its content: it is the same file whenever it was installed.
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = [name for name in folders if name not in _FOREIGN]
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118  # pathlib takes longer than reading the files
            url = f"{SCHEME}://{os.path.relpath(path, root)}"
            if matches(url) and stat.S_ISREG(os.lstat(path).st_mode):
                content = Path(path).read_bytes()
                yield SourceFile(url, path, len(content), hashlib.sha256(content).hexdigest()[:16])
