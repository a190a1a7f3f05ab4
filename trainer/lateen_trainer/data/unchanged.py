"""Whether source files are at the end of a build what they were when they were listed."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lateen_trainer.data import hub, stdlib
from lateen_trainer.data.source import SourceFile
from lateen_trainer.data.urls import LOOKUPS, current
from lateen_trainer.errors import DataError


def check_unchanged(files: Sequence[SourceFile], *, field: str, discard: Callable[[], None]) -> None:
    """Looks at each file again: one that was replaced while it was read may have given parts of both.

    Args:
        files: as they were listed.
        field: the job's field that names them, for messages.
        discard: forgets the build where a file changed.

    Raises:
        DataError: a file changed.
        UserError: a file is gone.
    """
    # The standard library's files are known by their content, and files of a commit cannot change.
    listed = [file for file in files if not (file.url.startswith(f"{stdlib.SCHEME}://") or hub.is_pinned(file))]
    with ThreadPoolExecutor(LOOKUPS) as pool:
        found = list(pool.map(lambda file: current(file, field=field), listed))
    for before, now in zip(listed, found, strict=True):
        if (before.size, before.stamp) != (now.size, now.stamp):
            discard()
            raise DataError(
                f"{before.url} changed while it was tokenized ({_shown(before)}, now {_shown(now)}): expected source "
                "files that stay as they are. Start again; the cache is then built of what is there."
            )


def _shown(file: SourceFile) -> str:
    return f"{file.size:,} bytes, stamp {file.stamp or 'unknown'}"
