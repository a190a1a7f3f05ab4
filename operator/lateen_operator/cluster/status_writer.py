"""Writes the status of jobs, and posts events and counts metrics for what has changed in it."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from lateen_api.status import JobStatus

from lateen_operator.attempts import Start
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

DEPTH_THAT_DOUBLES_WAITS = 20
"""Jobs in the queue."""

log = logging.getLogger(__name__)


@dataclass
class StatusWriter:
    """Writes statuses, less often while the queue is long."""

    client: Client
    store: InformerCache
    queue: WorkQueue[Key]
    apply: Apply
    poster: EventPoster
    metrics: Metrics
    clock: Callable[[], float]
    """Seconds since the epoch."""

    _written_at: dict[Key, float] = field(default_factory=dict)

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
        before = present_status(objects)
        after = build_status(seen, decision, told, plan=planned.plan, generation=job.generation, now=now)
        self.metrics.jobs.put(key, after)
        patch = status_patch(written(before), written(after))
        if not is_news(patch):
            return math.inf
        # While others wait for a worker, what is no news waits longer.
        wait = may_wait(patch, before, after) * (1 + len(self.queue) / DEPTH_THAT_DOUBLES_WAITS)
        early = self._written_at.get(key, -math.inf) + wait - now
        if early > 0:
            return early
        if not isinstance(decision, Start):
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
