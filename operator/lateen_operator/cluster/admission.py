"""Why a queue has not admitted an attempt, or took its machines back: read from Kueue's Workloads.

Kueue makes a Workload for each JobSet that names a queue, and its conditions have the reason. They are read only while
an attempt waits for admission, all of a namespace at once, and when an attempt was evicted. They are not watched: most
clusters have no Kueue, and a watch of a kind that does not exist would be one more thing that can fail.

https://kueue.sigs.k8s.io/docs/concepts/workload/
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from lateen_operator.cluster.client import ApiError, Client, Forbidden, NotFound
from lateen_operator.cluster.informer_cache import JobObjects, Key
from lateen_operator.cluster.observe import job_set_of
from lateen_operator.cluster.resources import WORKLOADS
from lateen_operator.cluster.views import JobSetView
from lateen_operator.cluster.workload import (
    JOB_UID_LABEL,
    Workload,
    admission_of,
    not_installed,
    not_served,
    view_workload,
)
from lateen_operator.observation import Admission, Observation

READ_EVERY_SECONDS = 10.0
SECONDS_PER_WORKLOAD = 0.03
"""What a list of many Workloads adds to that: 1,000 of them are listed every 30 s."""

SERVED_WITHIN_SECONDS = 20.0
"""After this time without a Workload no Kueue looks after the JobSet."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """All Workloads of a namespace, by the uid of their JobSet; None: the API server does not know the kind."""

    at: float
    workloads: Mapping[str, Workload] | None

    @property
    def stale_at(self) -> float:
        return self.at + READ_EVERY_SECONDS + SECONDS_PER_WORKLOAD * len(self.workloads or ())


@dataclass
class Admissions:
    """Reads the state of attempts in their queues.

    Args:
        client: calls the API server.
        clock: seconds since the epoch.
    """

    client: Client
    clock: Callable[[], float]
    _listed: dict[str, Listed] = field(default_factory=dict)
    _locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _evictions: dict[Key, tuple[str, str | None]] = field(default_factory=dict)
    """Uid of the JobSet that was evicted, and why."""

    async def explain(self, key: Key, objects: JobObjects, seen: Observation) -> Observation:
        """The observation, with why the attempt's queue does not let it run, if it has one."""
        attempt = seen.attempt
        if attempt is None:
            return seen
        job_set = job_set_of(objects, attempt.number)
        last = job_set or objects.gone_job_sets.get(attempt.number)
        if seen.ends and last is not None and last.queue is not None and last.suspended:
            return replace(seen, eviction=await self._eviction(key, last))
        if seen.admission is None or job_set is None:
            return seen
        listed = await self._of_namespace(key)
        seen = replace(seen, requeue_at=min(seen.requeue_at, self.clock() + READ_EVERY_SECONDS))
        if listed is None:
            return seen
        return replace(seen, admission=self._admission(job_set, listed) or seen.admission)

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._evictions.pop(key, None)

    def _admission(self, job_set: JobSetView, listed: Listed) -> Admission | None:
        queue = job_set.queue or ""
        if listed.workloads is None:
            return not_installed(queue)
        workload = listed.workloads.get(job_set.uid)
        if workload is not None:
            return admission_of(workload, queue)
        late = listed.at >= job_set.created_at + SERVED_WITHIN_SECONDS
        return not_served(job_set.name, queue) if late else None

    async def _of_namespace(self, key: Key) -> Listed | None:
        """What was listed last, if that is not long ago; None: it cannot be known."""
        async with self._locks[key.namespace]:
            known = self._listed.get(key.namespace)
            # A little early counts: the round that was to ask may come some milliseconds before its time.
            if known is not None and self.clock() < known.stale_at - 0.5:
                return known
            try:
                found = {view.job_uid: view async for view in self._workloads(key.namespace)}
            except NotFound:
                listed = Listed(self.clock(), None)
            except ApiError as error:
                _log(key, error)
                return known
            else:
                listed = Listed(self.clock(), found)
            self._listed[key.namespace] = listed
            return listed

    async def _eviction(self, key: Key, job_set: JobSetView) -> str | None:
        """Kueue's own words; they are there before the JobSet is suspended, and read once."""
        uid, why = self._evictions.get(key, ("", None))
        if uid == job_set.uid:
            return why
        try:
            found = [view async for view in self._workloads(key.namespace, f"{JOB_UID_LABEL}={job_set.uid}")]
        except ApiError as error:
            _log(key, error)
            found = []
        why = found[0].evicted if found else None
        self._evictions[key] = (job_set.uid, why)
        return why

    async def _workloads(self, namespace: str, selector: str = JOB_UID_LABEL):
        """All of a namespace, by whichever version of the kind is served.

        Raises:
            NotFound: none is.
        """
        for resource in WORKLOADS:
            try:
                async for page, _ in self.client.pages(resource, namespace, selector=selector):
                    for workload in page:
                        yield view_workload(workload)
            except NotFound:
                if resource is WORKLOADS[-1]:
                    raise
            else:
                return


def _log(key: Key, error: ApiError) -> None:
    level = logging.WARNING if isinstance(error, Forbidden) else logging.INFO
    log.log(level, "%s: the state in its queue is not known: %s", key, error)
