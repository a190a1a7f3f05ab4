"""Why pods of an attempt do not exist: asked of the events that Kubernetes' controllers post when they are refused.

Trainers' pods are created by the Job controller, and the Jobs by JobSet. What the API server tells them when it
refuses stands nowhere but in events about the Job and the JobSet. These are read only while pods are missing for
longer than it takes to create them, and never often, however many jobs wait for theirs.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from lateen_operator import names
from lateen_operator.cluster.client import ApiError, Client, Forbidden
from lateen_operator.cluster.informer_cache import JobObjects, Key
from lateen_operator.cluster.observe import job_set_of
from lateen_operator.cluster.refusals import blocked
from lateen_operator.cluster.resources import EVENTS
from lateen_operator.cluster.times import epoch
from lateen_operator.cluster.views import JobSetView
from lateen_operator.observation import Blocked, Observation, Process

ASKED_AFTER_SECONDS = 10.0
"""Pods that are missing for less are on their way."""

ASKED_EVERY_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
"""Between the questions about two jobs."""

_CREATION_FAILED = frozenset({"FailedCreate", "JobCreationFailed", "HeadlessServiceCreationFailed"})
"""Reasons of events: of the Job controller, and of JobSet's."""

_EXPECTED_FOR_A_WHILE = "leader pod not yet scheduled"
"""Of JobSet's webhook: the first pod of a slice waits for a machine, and the others are created after it has one."""

log = logging.getLogger(__name__)


@dataclass
class Uncreated:
    """Asks why pods are missing.

    Args:
        client: calls the API server.
        clock: seconds since the epoch.
    """

    client: Client
    clock: Callable[[], float]
    _answers: dict[Key, tuple[str, float, Blocked | None]] = field(default_factory=dict)
    """Uid of the JobSet that was asked about, when, and the answer."""

    _free_at: float = -math.inf

    async def explain(self, key: Key, objects: JobObjects, seen: Observation) -> Observation:
        """The observation, with why the pods that are missing are not created."""
        attempt = seen.attempt
        job_set = job_set_of(objects, attempt.number) if attempt else None
        missing = [process for process in seen.processes if process.pod_missing]
        if job_set is None or not missing or seen.terminating_since is not None or job_set.suspended:
            self._answers.pop(key, None)
            return seen
        now = self.clock()
        ask_at = job_set.may_have_pods_since + ASKED_AFTER_SECONDS
        if now < ask_at:
            return replace(seen, requeue_at=min(seen.requeue_at, ask_at))
        found = await self._asked(key, job_set, missing[0], now)
        seen = replace(seen, requeue_at=min(seen.requeue_at, now + ASKED_EVERY_SECONDS))
        if found is None:
            return seen
        processes = tuple(
            replace(process, waiting_for=found.cause) if process.pod_missing else process for process in seen.processes
        )
        return replace(seen, processes=processes, blocked=seen.blocked or found)

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._answers.pop(key, None)

    async def _asked(self, key: Key, job_set: JobSetView, process: Process, now: float) -> Blocked | None:
        uid, at, known = self._answers.get(key, ("", -math.inf, None))
        known = known if uid == job_set.uid else None
        # A little early counts: the round that was to ask may come some milliseconds before its time.
        if (uid == job_set.uid and now < at + ASKED_EVERY_SECONDS - 0.5) or now < self._free_at:
            return known
        self._free_at = now + _PAUSE_SECONDS
        try:
            known = await self._from_events(key, job_set, process)
        except Forbidden as error:
            log.warning("%s: pods are not created, and the operator may not list events to tell why: %s", key, error)
        except ApiError as error:
            log.info("%s: why pods are not created is not known: %s", key, error)
        self._answers[key] = (job_set.uid, now, known)
        return known

    async def _from_events(self, key: Key, job_set: JobSetView, process: Process) -> Blocked | None:
        job = f"{job_set.name}-{names.WORKERS}-{process.number // job_set.hosts_per_slice}"
        newest: tuple[float, str, str] = (job_set.created_at, "", "")
        for kind, name in (("Job", job), ("JobSet", job_set.name)):
            fields = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
            async for events, _ in self.client.pages(EVENTS, key.namespace, fields=fields):
                told = [(_time(one), str(one.get("message")), kind) for one in events if _tells(one)]
                newest = max([newest, *told])
        _, words, kind = newest
        return blocked(words, "its pods" if kind == "Job" else "its Jobs") if words else None


def _tells(event: dict[str, Any]) -> bool:
    return event.get("reason") in _CREATION_FAILED and _EXPECTED_FOR_A_WHILE not in str(event.get("message"))


def _time(event: dict[str, Any]) -> float:
    """When it last happened."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((epoch(time) or 0.0 for time in times), default=0.0)
