"""Locks between processes: one builds the cluster up or takes it down, one builds a program or the images."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.failure import ClusterError
from cluster.places import LOCK


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock while inside. ClusterError if another process holds it: waiting would hide what that one does."""
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClusterError("another process is starting or stopping the cluster at this moment") from error
        yield


@contextmanager
def one_after_another(file: Path) -> Iterator[None]:
    """Hold the lock `file` while inside, after waiting for any other process that holds it to be done."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
