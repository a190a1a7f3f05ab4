"""Why pods of an attempt do not exist: read from the events that Kubernetes' controllers post when they are refused.

Trainers' pods are created by the Job controller, and the Jobs by JobSet. What the API server tells them when it
refuses stands nowhere but in events about the Job and the JobSet. These are listed only while pods are missing for
longer than it takes to create them, and for all jobs of a namespace at once: the API server has no index of events, and
reads all of a namespace from etcd to answer for one object.
"""

import logging
import math
from collections.abc import Callable, Mapping
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

LISTED_AFTER_SECONDS = 10.0
"""Pods that are missing for less are on their way."""

LISTED_EVERY_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
"""Between the lists of two namespaces."""

_PAUSE_PER_SECOND = 10.0
"""Seconds of pause per second that a list took, so that lists of many events do not keep the API server busy."""

_CREATION_FAILED = frozenset({"FailedCreate", "JobCreationFailed", "HeadlessServiceCreationFailed"})
"""Reasons of events: of the Job controller, and of JobSet's."""

_EXPECTED_FOR_A_WHILE = "leader pod not yet scheduled"
"""Of JobSet's webhook: the first pod of a slice waits for a machine, and the others are created after it has one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Refused:
    """What the events of a namespace said when they were listed last."""

    at: float
    newest: Mapping[tuple[str, str], tuple[float, str]]
    """When something of a Job or JobSet could not be created last, and why: by kind and name of that."""


@dataclass
class Uncreated:
    """Reads why pods are missing.

    Args:
        client: calls the API server.
        clock: seconds since the epoch.
    """

    client: Client
    clock: Callable[[], float]
    _listed: dict[str, _Refused] = field(default_factory=dict)
    """By namespace."""

    _free_at: float = -math.inf

    async def explain(self, key: Key, objects: JobObjects, seen: Observation) -> Observation:
        """The observation, with why the pods that are missing are not created."""
        attempt = seen.attempt
        job_set = job_set_of(objects, attempt.number) if attempt else None
        missing = [process for process in seen.processes if process.pod_missing]
        if job_set is None or not missing or seen.terminating_since is not None or job_set.suspended:
            return seen
        now = self.clock()
        list_at = job_set.may_have_pods_since + LISTED_AFTER_SECONDS
        if now < list_at:
            return replace(seen, requeue_at=min(seen.requeue_at, list_at))
        refused = await self._of_namespace(key.namespace, now)
        found = _blocked(job_set, missing[0], refused) if refused else None
        seen = replace(seen, requeue_at=min(seen.requeue_at, now + LISTED_EVERY_SECONDS))
        if found is None:
            return seen
        processes = tuple(
            replace(process, waiting_for=found.cause) if process.pod_missing else process for process in seen.processes
        )
        return replace(seen, processes=processes, blocked=seen.blocked or found)

    async def _of_namespace(self, namespace: str, now: float) -> _Refused | None:
        """What was listed last; listed again first if that is long ago, and nobody lists at the moment."""
        known = self._listed.get(namespace)
        # A little early counts: the round that was to list may come some milliseconds before its time.
        if (known is not None and now < known.at + LISTED_EVERY_SECONDS - 0.5) or now < self._free_at:
            return known
        self._free_at = math.inf
        try:
            self._listed[namespace] = _Refused(now, await self._list(namespace))
        except ApiError as error:
            self._listed[namespace] = _Refused(now, known.newest if known else {})
            level = logging.WARNING if isinstance(error, Forbidden) else logging.INFO
            log.log(level, "namespace %s: why pods are not created is not known: %s", namespace, error)
        finally:
            after = self.clock()
            self._free_at = after + max(_PAUSE_SECONDS, _PAUSE_PER_SECOND * (after - now))
        return self._listed[namespace]

    async def _list(self, namespace: str) -> dict[tuple[str, str], tuple[float, str]]:
        newest: dict[tuple[str, str], tuple[float, str]] = {}
        for kind in ("Job", "JobSet"):
            fields = f"involvedObject.kind={kind},type=Warning"
            async for events, _ in self.client.pages(EVENTS, namespace, fields=fields):
                for event in filter(_tells, events):
                    about = kind, event["involvedObject"]["name"]
                    newest[about] = max(newest.get(about, (0.0, "")), (_time(event), str(event.get("message"))))
        return newest


def _blocked(job_set: JobSetView, process: Process, refused: _Refused) -> Blocked | None:
    job = f"{job_set.name}-{names.WORKERS}-{process.number // job_set.hosts_per_slice}"
    of_pods = refused.newest.get(("Job", job), (0.0, ""))
    of_jobs = refused.newest.get(("JobSet", job_set.name), (0.0, ""))
    at, words = max(of_pods, of_jobs)
    if not words or at < job_set.created_at:
        # It is of an attempt of a former job of this name.
        return None
    return blocked(words, "its pods" if of_pods >= of_jobs else "its Jobs")


def _tells(event: dict[str, Any]) -> bool:
    return event.get("reason") in _CREATION_FAILED and _EXPECTED_FOR_A_WHILE not in str(event.get("message"))


def _time(event: dict[str, Any]) -> float:
    """When it last happened."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((epoch(time) or 0.0 for time in times), default=0.0)
