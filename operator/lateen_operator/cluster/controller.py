"""The control loop: takes a job from the queue, observes, decides, acts, writes its status, and repeats.

Reconciliation is level-triggered: whatever woke a job up, all of it is observed, and nothing is remembered in between
that the cluster does not hold, but for what saves work (plans) or writes (when a status was last written).
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lateen_operator.attempts import Attempt, Start, Wait
from lateen_operator.cluster.admission import Admissions
from lateen_operator.cluster.apply import Apply
from lateen_operator.cluster.builders import Builders
from lateen_operator.cluster.capacity_probes import CapacityProbes
from lateen_operator.cluster.cleanup import Cleanup
from lateen_operator.cluster.client import ApiError, Client, NotFound
from lateen_operator.cluster.garbage import misses_config_map, useless_config_maps, useless_job_sets
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.ledger import told_status
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.observe import job_set_of, observe, pods_of
from lateen_operator.cluster.planned import Planned, Plans
from lateen_operator.cluster.poller import Poller, Trainer
from lateen_operator.cluster.preparation import builder_pods
from lateen_operator.cluster.refusals import RETRIED_WITHIN_SECONDS, NameTaken, blocked_by
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, Resource
from lateen_operator.cluster.status_writer import StatusWriter
from lateen_operator.cluster.uncreated import Uncreated
from lateen_operator.cluster.views import PodView, View
from lateen_operator.cluster.work_queue import BACKOFF_LONGEST_SECONDS, WorkQueue
from lateen_operator.manifests.owner import Owner
from lateen_operator.names import BUILDERS_ATTEMPT, attempt_name
from lateen_operator.observation import Observation
from lateen_operator.reconcile import Decision, Expire, Kill, Prepare, RecordEnd, Terminate, reconcile
from lateen_operator.resolve import Resolved

_RECONCILIATIONS_AT_ONCE = 8
_EXPECTED = (ApiError, NameTaken)

log = logging.getLogger(__name__)


@dataclass
class Controller:
    """Reconciles the jobs of the informer cache."""

    client: Client
    store: InformerCache
    queue: WorkQueue[Key]
    apply: Apply
    capacity_probes: CapacityProbes
    plans: Plans
    uncreated: Uncreated
    admissions: Admissions
    poller: Poller
    statuses: StatusWriter
    metrics: Metrics
    clock: Callable[[], float]
    """Seconds since the epoch."""

    cleanup: Cleanup = field(init=False)
    builders: Builders = field(init=False)

    def __post_init__(self) -> None:
        self.cleanup = Cleanup(self.metrics, self.clock)
        self.builders = Builders(self.client, self.store, self.apply)

    async def run(self, workers: int) -> None:
        """Works on the queue until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                requeue_after = await self.sync(key)
            except Exception as error:
                self.metrics.errors.labels(type(error).__name__).inc()
                # What was refused may be allowed at any time; who does not answer is not asked more and more often.
                refused = isinstance(error, NameTaken) or (isinstance(error, ApiError) and error.status != 0)
                delay = self.queue.put_backoff(key, RETRIED_WITHIN_SECONDS if refused else BACKOFF_LONGEST_SECONDS)
                # The message of an expected error is enough; of others the stack is needed.
                trace = not isinstance(error, _EXPECTED)
                log.error("%s: %s; again in %.3g s", key, error or type(error).__name__, delay, exc_info=trace)
            else:
                self.queue.done(key)
                self.queue.put_after(key, requeue_after)

    async def sync(self, key: Key) -> float:
        """Does all that can be done for a job now. Returns the seconds after which it is reconciled again."""
        for _ in range(_RECONCILIATIONS_AT_ONCE):
            with self.metrics.reconciliations.time():
                requeue_after = await self._reconcile_once(key)
            if requeue_after > 0:
                return requeue_after
        return 0.0

    async def _reconcile_once(self, key: Key) -> float:
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
            await self._tell_refusal(key, planned, seen, _without_effect(seen, decision, now), error)
            raise
        if isinstance(decision, Start):
            # What was seen does not know of the attempt. The next reconciliation does, and writes one status of it.
            self.statuses.attempt_created(key, decision.number, told)
            return 0.0
        uncleaned = self.cleanup.blocked(key)
        seen = replace(seen, blocked=uncleaned or seen.blocked)
        postponed = await self.statuses.write(key, objects, told, planned, seen, decision)
        if postponed is None:
            return 0.0
        # First: a running trainer is asked how it is, whatever cannot be tidied.
        self._poll(key, seen, decision)
        postponed = min(postponed, await self._clean_up(key, owner, planned, seen, decision))
        if self.cleanup.blocked(key) != uncleaned:
            return 0.0
        return min(postponed, _requeue_after(seen, decision, now))

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
            await self.statuses.write(
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

    async def _clean_up(self, key: Key, owner: Owner, planned: Planned, seen: Observation, decision: Decision) -> float:
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
        steps["keep the pods that tokenize"] = partial(self.builders.keep, key, owner, resolved, seen, decision)
        steps["keep capacity probes"] = partial(self.capacity_probes.keep, key, owner, resolved, seen, self.clock())
        return await self.cleanup.run(key, steps)

    def _poll_builder(self, key: Key, pods: Sequence[PodView]) -> None:
        """Polls one of the builders: each of them knows how far all are."""
        running = [pod for pod in pods if pod.running and pod.gone_at is None and pod.deadline is None]
        first = min(running, key=lambda pod: pod.host_index, default=None)
        if first is not None:
            self.poller.watch(key, Trainer(BUILDERS_ATTEMPT, first.name, first.ip))

    def _poll(self, key: Key, seen: Observation, decision: Decision) -> None:
        attempt = seen.attempt
        first = seen.processes[0] if seen.processes else None
        objects = self.store.get(key)
        if attempt is None and isinstance(decision, Prepare) and objects.builders is not None:
            self._poll_builder(key, builder_pods(objects, objects.builders))
            return
        if attempt is None or first is None or first.number != 0 or first.end is not None:
            self.poller.forget(key)
            return
        pods = [
            pod
            for pod in pods_of(objects, attempt, job_set_of(objects, attempt.number))
            if pod.running and pod.gone_at is None and pod.slice_index == 0 and pod.host_index == 0
        ]
        if first.running and pods:
            self.poller.watch(key, Trainer(attempt.number, pods[0].name, pods[0].ip))

    def _forget(self, key: Key) -> None:
        self.poller.forget(key)
        self.plans.forget(key)
        self.admissions.forget(key)
        self.statuses.forget(key)
        self.cleanup.forget(key)
        self.queue.forget(key)


def _without_effect(seen: Observation, decision: Decision, now: float) -> Decision:
    """How a decision that could not be applied is reported: no attempt starts or terminates, and a job that should be
    deleted stays as it ended."""
    if isinstance(decision, Expire):
        return reconcile(replace(seen, target=replace(seen.target, ttl=None)), now)
    return Wait(math.inf)


def _requeue_after(seen: Observation, decision: Decision, now: float) -> float:
    """Seconds until something changes by the passing of time alone; 0: the next decision can be taken now."""
    if isinstance(decision, RecordEnd | Terminate | Kill):
        return 0.0
    until = decision.until if isinstance(decision, Wait) else _expires_at(seen, decision)
    return max(0.001, min(until, seen.requeue_at) - now)


def _expires_at(seen: Observation, decision: Decision) -> float:
    ended_at = seen.attempts[-1].ended_at if seen.attempts else None
    if seen.target.ttl is None or ended_at is None or isinstance(decision, Expire):
        return math.inf
    return ended_at + seen.target.ttl
