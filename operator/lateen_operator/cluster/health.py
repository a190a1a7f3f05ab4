"""Is the operator alive, and ready? Pure, but for the clocks of what it asks."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lateen_operator.cluster.watches import Watches

STALE_SECONDS = 420.0
"""A watch over which not even a bookmark has come for two minutes is requested again, and an API server may be away for
a while."""

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
    listed: bool = field(default=False)
    """Everything was listed once."""

    def problems(self) -> list[str]:
        """Why the operator should be restarted; empty: it is healthy."""
        found = [
            f"the watch of {path} has given no sign of life for {age:.0f} s (limit {STALE_SECONDS:.0f} s)"
            for path, age in self.watches.ages().items()
            if age > STALE_SECONDS
        ]
        slowest = self.slowest_worker()
        if slowest > STUCK_SECONDS:
            found.append(f"a worker has been at one job for {slowest:.0f} s (limit {STUCK_SECONDS:.0f} s)")
        return found

    def unready(self) -> list[str]:
        """Why the operator cannot work yet, or any more. A new start would not help. Empty: it can."""
        return self.watches.refusals if self.listed else ["objects are still being listed"]
