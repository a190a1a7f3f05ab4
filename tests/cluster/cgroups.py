"""Control groups: every process of the cluster is in one, which is how it is found again, limited and killed.

A machine has either one hierarchy (cgroup v2) or one for each controller (v1, or hybrid); a group is the folder of the
same name in each of them.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.failure import ClusterError

MOUNTS = Path("/proc/self/mounts")
CONTROLLERS = ("cpuset", "cpu", "memory", "pids")
"""Which kubelet needs in a group of cgroup v2."""


def hierarchies(mounts: str) -> list[Path]:
    """Where the hierarchies that processes live in are mounted, from the text of /proc/self/mounts.

    On a hybrid machine those of v1: its empty v2 tree holds no controllers.
    """
    by_version: dict[str, list[Path]] = {"cgroup": [], "cgroup2": []}
    for line in mounts.splitlines():
        _, folder, kind, *_ = line.split()
        if kind in by_version and Path(folder) not in by_version[kind]:
            by_version[kind].append(Path(folder))
    return by_version["cgroup"] or by_version["cgroup2"]


def folders(group: str) -> list[Path]:
    """The folders of `group`, one in each hierarchy, whether they exist or not."""
    return [hierarchy / group for hierarchy in hierarchies(MOUNTS.read_text())]


def create(group: str) -> None:
    """Create `group` in every hierarchy, with all its parents, ready to take processes."""
    names = group.split("/")
    for depth in range(1, len(names) + 1):
        for folder in folders("/".join(names[:depth])):
            folder.mkdir(exist_ok=True)
            _inherit(folder)


def _inherit(folder: Path) -> None:
    """Give a new folder what processes need before they may enter it."""
    control = folder.parent / "cgroup.subtree_control"
    if control.exists():
        control.write_text(" ".join(f"+{name}" for name in CONTROLLERS))
    for name in ("cpuset.cpus", "cpuset.mems"):
        # Under v1 a new cpuset is empty and takes nobody; under v2 an empty one means the parent's.
        if (folder / name).exists() and not control.exists():
            (folder / name).write_text((folder.parent / name).read_text())


def processes(group: str) -> set[int]:
    """All processes in `group` and in the groups below it."""
    found: set[int] = set()
    for folder in folders(group):
        for inner in _with_descendants(folder):
            try:
                found.update(int(pid) for pid in (inner / "cgroup.procs").read_text().split())
            except (FileNotFoundError, OSError):  # the group was removed while we looked
                continue
    return found


def _with_descendants(folder: Path) -> Iterator[Path]:
    """`folder` and all folders below it, the innermost first; nothing if it does not exist."""
    for inner, _, _ in os.walk(folder, topdown=False):
        yield Path(inner)


def kill(group: str, seconds: float = 20) -> None:
    """SIGKILL every process in `group` and below, until none is left. ClusterError if some outlive `seconds`."""
    end = time.monotonic() + seconds
    while left := processes(group):
        if time.monotonic() > end:
            raise ClusterError(f"processes {sorted(left)} of cgroup {group} outlived SIGKILL for {seconds:.0f} s")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def remove(group: str, seconds: float = 10) -> None:
    """Remove `group`, which must hold no processes, and those below it. The kernel gets `seconds` to let go of them."""
    end = time.monotonic() + seconds
    for folder in folders(group):
        for inner in _with_descendants(folder):
            while inner.exists():
                try:
                    inner.rmdir()
                except FileNotFoundError:
                    break
                except OSError as error:
                    if time.monotonic() > end:
                        raise ClusterError(f"cannot remove cgroup {inner}: {error}") from error
                    time.sleep(0.05)
