"""Writes the status of jobs, and posts events and counts metrics for what has changed in it."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lateen_api.status import JobStatus

from lateen_operator.cluster.apply import Apply
from lateen_operator.cluster.client import ApiError, Client, Conflict, NotFound
from lateen_operator.cluster.event_poster import EventPoster
from lateen_operator.cluster.informer_cache import InformerCache, JobObjects, Key
from lateen_operator.cluster.ledger import present_status
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.planned import Planned
from lateen_operator.cluster.resources import JOBS
from lateen_operator.cluster.status_patch import is_news, may_wait, status_patch, written
from lateen_operator.cluster.work_queue import WorkQueue
from lateen_operator.events import events
from lateen_operator.observation import Observation
from lateen_operator.reconcile import Decision
from lateen_operator.status_builder import build_status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Created:
    """An attempt of which no status tells yet."""

    number: int
    at: float
    """When it was created. Its JobSet knows that to the second only."""

    told: JobStatus
    """What had been counted and posted of the job before."""

    def dated(self, seen: Observation) -> Observation:
        attempt = seen.attempts[-1] if seen.attempts else None
        if attempt is None or attempt.number != self.number:
            return seen
        return replace(seen, attempts=(*seen.attempts[:-1], replace(attempt, started_at=self.at)))


@dataclass
class StatusWriter:
    """Writes statuses, less often while much is to be done."""

    client: Client
    store: InformerCache
    queue: WorkQueue[Key]
    apply: Apply
    poster: EventPoster
    metrics: Metrics
    clock: Callable[[], float]
    """Seconds since the epoch."""

    _written_at: dict[Key, float] = field(default_factory=dict)
    _created: dict[Key, _Created] = field(default_factory=dict)

    def attempt_created(self, key: Key, number: int, told: JobStatus) -> None:
        """An attempt was created. The next status tells of it, and of what became of it meanwhile.

        Args:
            key: the job.
            number: of the attempt.
            told: what has been counted and posted as events so far.
        """
        now = self.clock()
        before = self._created.get(key)
        self._written_at[key] = now
        self._created[key] = _Created(number, now, before.told if before else told)

    async def write(
        self,
        key: Key,
        objects: JobObjects,
        told: JobStatus,
        planned: Planned,
        seen: Observation,
        decision: Decision,
    ) -> float | None:
        """Writes the status if it has changed, and posts and counts what `told` does not have.

        Args:
            key: the job.
            objects: the job and its children.
            told: what has been counted and posted as events so far.
            planned: the job's plan.
            seen: what the decision was made from.
            decision: what is done now.

        Returns:
            Seconds after which the status is to be written; infinity: it is written. None: the job has changed
            meanwhile, and has to be reconciled again.
        """
        job = objects.job
        if job is None:
            return None
        now = self.clock()
        created = self._created.get(key)
        if created is not None:
            told, seen = created.told, created.dated(seen)
        before = present_status(objects)
        after = build_status(seen, decision, told, plan=planned.plan, generation=job.generation, now=now)
        self.metrics.jobs.put(key, after)
        patch = status_patch(written(before), written(after))
        if not is_news(patch):
            return math.inf
        wait = may_wait(patch, before, after, others=max(0, self.queue.busy - 1))
        early = self._written_at.get(key, -math.inf) + wait - now
        if early > 0:
            return early
        # First: what the ledger has is not posted as an event again.
        await self._keep_ledger(key, after)
        # A status that was made from an older one must not erase what was written since.
        body = {"metadata": {"resourceVersion": str(job.version)}, "status": patch}
        try:
            stored = await self.client.merge(JOBS, key.namespace, key.name, body, "status")
        except Conflict:
            self.store.put(JOBS, await self.client.get(JOBS, key.namespace, key.name))
            return None
        except NotFound:
            self.store.drop(key, JOBS, job)
            return None
        self.metrics.status_patches.inc()
        self._written_at[key] = now
        self._created.pop(key, None)
        self.store.put(JOBS, stored)
        self._count(key, told, after)
        self.poster.post(key, job.uid, events(told, after))
        return math.inf

    async def _keep_ledger(self, key: Key, status: JobStatus) -> None:
        try:
            await self.apply.keep_ledger(key, status)
        except ApiError as error:
            # It matters only should the status be wiped, too.
            self.metrics.errors.labels(type(error).__name__).inc()
            log.warning("%s: the ledger could not be noted on the JobSet: %s", key, error)

    def _count(self, key: Key, before: JobStatus, after: JobStatus) -> None:
        known = {entry.number: entry for entry in before.attempts}
        for entry in after.attempts:
            old = known.get(entry.number)
            if entry.ended and (old is None or not old.ended):
                self.metrics.attempts.labels(entry.failure_class).inc()
                self.metrics.jobs.attempt_ended(key, entry.failure_class or "")
            took = entry.seconds_to_next_step
            if took is not None and (old is None or old.seconds_to_next_step is None):
                self.metrics.recovery.observe(took)

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self.poster.forget(key)
        self.metrics.jobs.forget(key)
        self._written_at.pop(key, None)
        self._created.pop(key, None)
