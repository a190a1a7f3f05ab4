"""Steps that tidy up after a decision: each is done, reported and repeated by itself.

The API server may refuse one of them for long (an admission webhook, a missing right). The job goes on all the same.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from lateen_operator.cluster.client import ApiError
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.refusals import RETRIED_WITHIN_SECONDS, NameTaken, blocked_by
from lateen_operator.observation import Blocked

RETRY_FIRST_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Failure:
    times: int
    again_at: float
    blocked: Blocked | None
    """What it means for the job; None: nothing to report (yet)."""


@dataclass
class Cleanup:
    """Runs the steps of all jobs, and knows which of them failed."""

    metrics: Metrics
    clock: Callable[[], float]
    """Seconds since the epoch."""

    _failures: dict[Key, dict[str, _Failure]] = field(default_factory=dict)

    async def run(self, key: Key, steps: Mapping[str, Callable[[], Awaitable[None]]]) -> float:
        """Does a job's steps, except those that failed a short time ago.

        Args:
            key: the job.
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
                left[name] = self._failed(key, name, before, error)
        if not left:
            return float("inf")
        self._failures[key] = left
        return max(0.001, min(failure.again_at for failure in left.values()) - self.clock())

    def blocked(self, key: Key) -> Blocked | None:
        """What keeps the job's steps from being done; None: nothing to report."""
        failures = self._failures.get(key, {}).values()
        return next((failure.blocked for failure in failures if failure.blocked is not None), None)

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._failures.pop(key, None)

    def _failed(self, key: Key, name: str, before: _Failure | None, error: Exception) -> _Failure:
        times = before.times if before else 0
        wait = min(RETRIED_WITHIN_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** min(times, 16))
        self.metrics.errors.labels(type(error).__name__).inc()
        log.error("%s: could not %s: %s; again in %.3g s", key, name, error, wait)
        return _Failure(times + 1, self.clock() + wait, blocked_by(error, times))
