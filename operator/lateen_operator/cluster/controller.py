"""The life of the jobs: takes a job from the queue, observes, decides, acts, writes its status, and again.

Rounds are level-triggered: whatever woke a job up, all of it is looked at, and nothing is remembered between rounds
that the cluster does not tell, but for what saves work (the plan) or tells people more (how often status is written).
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

from lateen_api.status import JobStatus

from lateen_operator.attempts import Attempt, Start, Wait
from lateen_operator.cluster.admission import Admissions
from lateen_operator.cluster.apply import Apply
from lateen_operator.cluster.capacity_probes import CapacityProbes
from lateen_operator.cluster.cleanup import Cleanup
from lateen_operator.cluster.client import ApiError, Client, Conflict, NotFound
from lateen_operator.cluster.event_poster import EventPoster
from lateen_operator.cluster.garbage import misses_config_map, useless_config_maps, useless_job_sets
from lateen_operator.cluster.informer_cache import InformerCache, JobObjects, Key
from lateen_operator.cluster.ledger import present_status, told_status
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.observe import job_set_of, observe, pods_of
from lateen_operator.cluster.planned import Planned, Plans
from lateen_operator.cluster.poller import Poller, Trainer
from lateen_operator.cluster.refusals import RETRIED_WITHIN_SECONDS, NameTaken, blocked_by
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, Resource
from lateen_operator.cluster.status_patch import is_news, may_wait, status_patch, written
from lateen_operator.cluster.uncreated import Uncreated
from lateen_operator.cluster.views import View
from lateen_operator.cluster.work_queue import BACKOFF_LONGEST_SECONDS, WorkQueue
from lateen_operator.events import events
from lateen_operator.manifests.owner import Owner
from lateen_operator.names import attempt_name
from lateen_operator.observation import Observation
from lateen_operator.reconcile import Decision, Expire, Kill, RecordEnd, Terminate, reconcile
from lateen_operator.resolve import Resolved
from lateen_operator.status_builder import build_status

DEPTH_THAT_DOUBLES_WAITS = 20
"""Jobs in the queue."""

_ROUNDS_AT_ONCE = 8
_EXPECTED = (ApiError, NameTaken)

log = logging.getLogger(__name__)


@dataclass
class Controller:
    """Works on the jobs of a store."""

    client: Client
    store: InformerCache
    queue: WorkQueue[Key]
    apply: Apply
    capacity_probes: CapacityProbes
    plans: Plans
    uncreated: Uncreated
    admissions: Admissions
    poller: Poller
    poster: EventPoster
    metrics: Metrics
    clock: Callable[[], float]
    """Seconds since the epoch."""

    cleanup: Cleanup = field(init=False)

    _written_at: dict[Key, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cleanup = Cleanup(self.metrics, self.clock)

    async def run(self, workers: int) -> None:
        """Works on the queue, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                again = await self.look(key)
            except Exception as error:
                self.metrics.errors.labels(type(error).__name__).inc()
                # What was refused may be allowed at any time; who does not answer is not asked more and more often.
                refused = isinstance(error, NameTaken) or (isinstance(error, ApiError) and error.status != 0)
                delay = self.queue.put_backoff(key, RETRIED_WITHIN_SECONDS if refused else BACKOFF_LONGEST_SECONDS)
                # Expected errors tell all in a line; of the others we want to know where they come from.
                trace = not isinstance(error, _EXPECTED)
                log.error("%s: %s; again in %.3g s", key, error or type(error).__name__, delay, exc_info=trace)
            else:
                self.queue.done(key)
                self.queue.put_after(key, again)

    async def look(self, key: Key) -> float:
        """Does all that can be done for a job now. Returns the seconds after which it is to be looked at again."""
        for _ in range(_ROUNDS_AT_ONCE):
            with self.metrics.reconciliations.time():
                again = await self._round(key)
            if again > 0:
                return again
        return 0.0

    async def _round(self, key: Key) -> float:
        objects = self.store.get(key)
        job = objects.job
        if job is None or job.deadline is not None:
            # Kubernetes deletes what belongs to it.
            self._forget(key)
            return math.inf
        # From here on the store may lose the job in any wait: the round is about the one it began with.
        owner = Owner(key.name, key.namespace, job.uid)
        planned = self.plans.of(key, objects)
        now = self.clock()
        told = told_status(objects)
        seen = observe(objects, planned.target, planned.refusal, self.poller.history(key), now)
        seen = await self.uncreated.explain(key, objects, seen)
        seen = await self.admissions.explain(key, objects, seen)
        decision = reconcile(seen, now)
        if isinstance(decision, RecordEnd) and not await self._is_gone_for_good(key, seen):
            return 0.0
        try:
            await self._act(key, owner, planned, seen, decision, now)
        except _EXPECTED as error:
            await self._tell_refusal(key, planned, seen, _undone(seen, decision, now), error)
            raise
        uncleaned = self.cleanup.blocked(key)
        seen = replace(seen, blocked=uncleaned or seen.blocked)
        postponed = await self._write_status(key, objects, told, planned, seen, decision)
        if postponed is None:
            return 0.0
        if not isinstance(decision, Start):
            # What was seen does not know of the attempt yet.
            # First: a running trainer is asked how it is, whatever cannot be tidied.
            self._poll(key, seen)
            postponed = min(postponed, await self._tidy(key, owner, planned, seen))
            if self.cleanup.blocked(key) != uncleaned:
                return 0.0
        return min(postponed, _next_look(seen, decision, now))

    async def _act(
        self, key: Key, owner: Owner, planned: Planned, seen: Observation, decision: Decision, now: float
    ) -> None:
        """Applies the decision."""
        attempt = seen.attempt
        match decision:
            case Start() if planned.resolved is not None:
                saved = seen.attempts[-1].checkpoint_step if seen.attempts else None
                await self.apply.start(key, owner, planned.resolved, decision, checkpoint_step=saved)
            case Terminate(cause=cause) | Kill(cause=cause) if attempt is not None:
                await self.apply.stop(key, attempt.number, cause, now)
            case Expire():
                await self.apply.expire(key, owner)

    async def _tell_refusal(
        self, key: Key, planned: Planned, seen: Observation, decision: Decision, error: Exception
    ) -> None:
        """Writes down that the API server refuses something, if it does."""
        refusal = blocked_by(error, self.queue.failures(key))
        if refusal is not None:
            objects = self.store.get(key)
            await self._write_status(
                key, objects, told_status(objects), planned, replace(seen, blocked=refusal), decision
            )

    async def _is_gone_for_good(self, key: Key, seen: Observation) -> bool:
        """Before an attempt is closed because its JobSet is gone: is it? A watch may be late."""
        attempt = seen.attempt
        if attempt is None or job_set_of(self.store.get(key), attempt.number) is not None:
            return True
        try:
            found = await self.client.get(JOB_SETS, key.namespace, attempt_name(key.name, attempt.number))
        except NotFound:
            return True
        self.store.put(JOB_SETS, found)
        return job_set_of(self.store.get(key), attempt.number) is None

    async def _write_status(
        self,
        key: Key,
        objects: JobObjects,
        told: JobStatus,
        planned: Planned,
        seen: Observation,
        decision: Decision,
    ) -> float | None:
        """Writes the status if it says something new, and posts and counts what `told` does not know.

        Returns the seconds after which it is to be written, infinity
        when it is; None: the job changed meanwhile, and has to be looked at anew."""
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
            # Before it is told: what is kept is not told again.
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

    async def _tidy(self, key: Key, owner: Owner, planned: Planned, seen: Observation) -> float:
        """Deletes what serves no purpose any more, and creates what is missing. A step that fails keeps none of the
        others from being done. Returns the seconds until those that failed are tried again; infinity: none did."""
        objects = self.store.get(key)
        if objects.job is None:
            return math.inf

        async def delete(resource: Resource, view: View) -> None:
            await self.client.delete(resource, key.namespace, view.name, view.uid)
            self.store.drop(key, resource, view)

        async def restore_config_map(resolved: Resolved, attempt: Attempt) -> None:
            await self.apply.restore_config_map(key, owner, resolved, attempt.number, attempt.hosts)

        steps: dict[str, Callable[[], Awaitable[None]]] = {}
        for job_set in useless_job_sets(objects, seen):
            steps[f"delete JobSet {job_set.name}"] = partial(delete, JOB_SETS, job_set)
        for config_map in useless_config_maps(objects):
            steps[f"delete ConfigMap {config_map.name}"] = partial(delete, CONFIG_MAPS, config_map)
        attempt, resolved = seen.attempt, planned.resolved
        if attempt is not None:
            steps[f"delete suspended JobSet {attempt_name(key.name, attempt.number)}"] = partial(
                self.apply.finish_stop, key, attempt.number
            )
            steps["create NetworkPolicy"] = partial(self.apply.ensure_network_policy, key, owner)
            if resolved is not None and attempt.digest == resolved.digest and misses_config_map(objects, seen):
                steps["restore ConfigMap"] = partial(restore_config_map, resolved, attempt)
            self.store.forget_gone(key, attempt.number)
        steps["keep capacity probes"] = partial(self.capacity_probes.keep, key, owner, resolved, seen, self.clock())
        return await self.cleanup.run(key, steps)

    def _poll(self, key: Key, seen: Observation) -> None:
        attempt = seen.attempt
        first = seen.processes[0] if seen.processes else None
        if attempt is None or first is None or first.number != 0 or first.end is not None:
            self.poller.forget(key)
            return
        objects = self.store.get(key)
        pods = [
            pod
            for pod in pods_of(objects, attempt, job_set_of(objects, attempt.number))
            if pod.running and pod.gone_at is None and pod.slice_index == 0 and pod.host_index == 0
        ]
        if first.running and pods:
            self.poller.watch(key, Trainer(attempt.number, pods[0].name, pods[0].ip))

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

    def _forget(self, key: Key) -> None:
        self.poller.forget(key)
        self.plans.forget(key)
        self.uncreated.forget(key)
        self.admissions.forget(key)
        self.poster.forget(key)
        self.cleanup.forget(key)
        self.queue.forget(key)
        self.metrics.jobs.forget(key)
        self._written_at.pop(key, None)


def _undone(seen: Observation, decision: Decision, now: float) -> Decision:
    """How a decision that could not be applied is reported: no attempt starts or terminates, and a job that should be
    deleted stays as it ended."""
    if isinstance(decision, Expire):
        return reconcile(replace(seen, target=replace(seen.target, ttl=None)), now)
    return Wait(math.inf)


def _next_look(seen: Observation, decision: Decision, now: float) -> float:
    """Seconds until something changes by the passing of time alone; 0: the next decision can be taken now."""
    if isinstance(decision, Start | RecordEnd | Terminate | Kill):
        return 0.0
    until = decision.until if isinstance(decision, Wait) else _expires_at(seen, decision)
    return max(0.001, min(until, seen.look_again) - now)


def _expires_at(seen: Observation, decision: Decision) -> float:
    ended_at = seen.attempts[-1].ended_at if seen.attempts else None
    if seen.target.ttl is None or ended_at is None or isinstance(decision, Expire):
        return math.inf
    return ended_at + seen.target.ttl
