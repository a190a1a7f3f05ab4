"""Wait for something to become true, and not for ever."""

import time
from collections.abc import Callable

from cluster.failure import ClusterError


def wait_until(condition: Callable[[], bool], what: str, seconds: float, every: float = 0.2) -> None:
    """Return once `condition()` holds. ClusterError that names `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(every)
