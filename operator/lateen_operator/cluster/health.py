"""Is the operator alive, and ready? Pure, but for the clocks of what it asks."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lateen_operator.cluster.resources import WATCHED
from lateen_operator.cluster.watches import Watches

STALE_SECONDS = 420.0
"""A watch is asked for anew after two minutes of silence, and an API server may be away for a while."""

STUCK_SECONDS = 600.0
"""No call takes longer than a minute, and a look at a job makes a few."""


@dataclass
class Health:
    """What /healthz and /readyz say.

    Args:
        watches: their signs of life.
        slowest_worker: seconds since which the slowest worker has had its job.
    """

    watches: Watches
    slowest_worker: Callable[[], float]
    ready: bool = field(default=False)
    """Everything was listed once."""

    def problems(self) -> list[str]:
        """Why the operator should be started anew; empty: it is well."""
        found = [
            f"the watch of {resource.plural} has given no sign of life for {age:.0f} s (limit {STALE_SECONDS:.0f} s)"
            for resource in WATCHED
            if (age := self.watches.age(resource)) > STALE_SECONDS
        ]
        slowest = self.slowest_worker()
        if slowest > STUCK_SECONDS:
            found.append(f"a worker has been at one job for {slowest:.0f} s (limit {STUCK_SECONDS:.0f} s)")
        return found
