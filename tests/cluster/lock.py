"""Only one process at a time may build the cluster up or take it down."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

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
