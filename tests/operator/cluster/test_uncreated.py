"""Why pods of many jobs are missing is read by few lists of events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from lateen_operator.attempts import Attempt
from lateen_operator.cluster.client import Client
from lateen_operator.cluster.informer_cache import InformerCache, JobObjects, Key
from lateen_operator.cluster.resources import JOB_SETS, JOBS, Resource
from lateen_operator.cluster.uncreated import Uncreated
from lateen_operator.observation import Observation, Process
from watched_objects import KEY, T0, at, job, job_set

QUOTA = 'Error creating: pods "x" is forbidden: exceeded quota: pods, limited: pods=0'


class Events(Client):
    """A namespace in which the API server refuses pods to some Jobs; a list takes so many seconds."""

    def __init__(self, *jobs: str, takes: float = 0.0):
        self.jobs, self.takes, self.now, self.lists = jobs, takes, T0, list[float]()

    async def pages(
        self, resource: Resource, namespace: str | None, selector: str | None = None, fields: str | None = None
    ) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
        kind = dict(part.split("=") for part in (fields or "").split(","))["involvedObject.kind"]
        self.now += self.takes / 2
        if kind == "Job":
            self.lists.append(self.now - T0)
        yield ([_refused(name) for name in self.jobs] if kind == "Job" else []), 1


def _refused(name: str) -> dict[str, Any]:
    about = {"kind": "Job", "name": name}
    return {"involvedObject": about, "reason": "FailedCreate", "message": QUOTA, "lastTimestamp": at(11)}


def of_one_host(objects: JobObjects) -> Observation:
    """An attempt whose only pod is missing."""
    target: Any = None  # No part of it is looked at.
    missing = Process(0, placed=False, running=False, pod_missing=True)
    return Observation(target=target, attempts=(Attempt(number=1, hosts=1, started_at=T0),), processes=(missing,))


def world(events: Events, jobs: int) -> tuple[Uncreated, dict[Key, JobObjects]]:
    """So many jobs of one namespace, all with a JobSet since T0 + 10 s and no pods."""
    store = InformerCache(lambda: events.now)
    keys = [Key(KEY.namespace, f"job-{number}") for number in range(jobs)]
    for key in keys:
        made, attempt = job(), job_set(hosts=1)
        made["metadata"]["name"] = key.name
        attempt["metadata"] |= {"name": f"{key.name}-a1", "uid": key.name, "labels": {"lateen.dev/job": key.name}}
        attempt["metadata"]["labels"]["lateen.dev/attempt"] = "1"
        store.put(JOBS, made)
        store.put(JOB_SETS, attempt)
    uncreated = Uncreated(cast(Client, events), lambda: events.now)
    return uncreated, {key: store.get(key) for key in keys}


def explained(uncreated: Uncreated, jobs: dict[Key, JobObjects]) -> list[str]:
    """The jobs that are told why they are blocked."""

    async def all_of_them() -> list[str]:
        found = {key: await uncreated.explain(key, objects, of_one_host(objects)) for key, objects in jobs.items()}
        return [key.name for key, seen in found.items() if seen.blocked and QUOTA in seen.blocked.message]

    return asyncio.run(all_of_them())


def test_one_list_tells_all_jobs_of_a_namespace():
    events = Events(*(f"job-{number}-a1-workers-0" for number in range(0, 100, 2)))
    uncreated, jobs = world(events, 100)
    events.now = T0 + 21
    assert explained(uncreated, jobs) == [f"job-{number}" for number in range(0, 100, 2)]
    assert len(events.lists) == 1
    events.now = T0 + 32
    explained(uncreated, jobs)
    assert len(events.lists) == 2


def test_lists_that_take_long_are_farther_apart():
    events = Events(takes=3.0)
    uncreated, jobs = world(events, 1)
    for second in range(21, 121):
        events.now = max(events.now, T0 + second)
        explained(uncreated, jobs)
    spacing = [later - earlier for earlier, later in zip(events.lists, events.lists[1:], strict=False)]
    assert len(spacing) >= 2
    assert all(seconds >= 30 for seconds in spacing)
