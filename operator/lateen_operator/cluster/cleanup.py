"""Steps that tidy up after a decision: each is done, reported and repeated by itself.

The API server may refuse one of them for long (an admission webhook, a missing right). The job goes on all the same.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from lateen_operator.cluster.apply import NameTaken
from lateen_operator.cluster.client import ApiError
from lateen_operator.cluster.event_poster import EventPoster
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.store import Key
from lateen_operator.events import Event

RETRY_FIRST_SECONDS = 1.0
RETRY_LONGEST_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Failure:
    times: int
    again_at: float


@dataclass
class Cleanup:
    """Runs the steps of all jobs, and knows which of them failed."""

    poster: EventPoster
    metrics: Metrics
    clock: Callable[[], float]
    """Seconds since the epoch."""

    _failures: dict[Key, dict[str, _Failure]] = field(default_factory=dict)

    async def run(self, key: Key, uid: str, steps: Mapping[str, Callable[[], Awaitable[None]]]) -> float:
        """Does a job's steps, except those that failed a short time ago.

        Args:
            key: the job.
            uid: of the job, for its events.
            steps: what to do, by what it is called in messages.

        Returns:
            The seconds until a failed step is due again; infinity: none failed.
        """
        failures = self._failures.pop(key, {})
        left: dict[str, _Failure] = {}
        for name, step in steps.items():
            before = failures.get(name)
            if before is not None and self.clock() < before.again_at:
                left[name] = before
                continue
            try:
                await step()
            except (ApiError, NameTaken) as error:
                left[name] = self._failed(key, uid, name, before, error)
        if not left:
            return float("inf")
        self._failures[key] = left
        return max(0.001, min(failure.again_at for failure in left.values()) - self.clock())

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._failures.pop(key, None)

    def _failed(self, key: Key, uid: str, name: str, before: _Failure | None, error: Exception) -> _Failure:
        times = before.times if before else 0
        wait = min(RETRY_LONGEST_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** min(times, 16))
        self.metrics.errors.labels(type(error).__name__).inc()
        log.error("%s: could not %s: %s; again in %.3g s", key, name, error, wait)
        if before is None:
            self.poster.post(key, uid, [Event("Warning", "CleanupFailed", f"Could not {name}: {error}.")])
        return _Failure(times + 1, self.clock() + wait)
