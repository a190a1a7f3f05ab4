"""A controller and an API server in memory, for tests of what the operator does with a job's objects."""

import asyncio
import copy
import random
from typing import Any

from lateen_api.status import JobStatus
from lateen_operator.cluster.admission import Admissions
from lateen_operator.cluster.apply import Apply
from lateen_operator.cluster.capacity_probes import CapacityProbes
from lateen_operator.cluster.client import Client, Forbidden
from lateen_operator.cluster.controller import Controller
from lateen_operator.cluster.event_poster import EventPoster
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.planned import Plans
from lateen_operator.cluster.poller import Poller, Trainer
from lateen_operator.cluster.resources import WATCHED, Resource
from lateen_operator.cluster.status_writer import StatusWriter
from lateen_operator.cluster.uncreated import Uncreated
from lateen_operator.cluster.work_queue import WorkQueue
from lateen_operator.events import Event
from lateen_operator.progress_history import ProgressHistory
from stored_jobs import NANO, SETTINGS
from watched_objects import KEY, T0, at

SPEC = NANO["spec"]


class FakeClient(Client):
    """Keeps objects in a dictionary, and refuses what a test says."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.refused: set[str] = set()
        """Names of objects whose deletion is refused."""

        self.calls: list[str] = []
        self._version = 100

    def put(self, resource: Resource, thing: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)
        self.objects[resource.plural, thing["metadata"]["name"]] = thing
        return copy.deepcopy(thing)

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return copy.deepcopy(self.objects[resource.plural, name])

    async def create(self, resource: Resource, body: Any) -> dict[str, Any]:
        self.calls.append(f"create {resource.plural} {body['metadata']['name']}")
        made = {"uid": f"made-{len(self.calls)}", "creationTimestamp": at(100)}
        return self.put(resource, {**body, "metadata": {**body["metadata"], **made}})

    async def merge(
        self, resource: Resource, namespace: str, name: str, patch: Any, subresource: str | None = None
    ) -> dict[str, Any]:
        self.calls.append(f"patch {resource.plural} {name}")
        return self.put(resource, merged(self.objects[resource.plural, name], patch))

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, propagation: str = "Background"
    ) -> None:
        self.calls.append(f"delete {resource.plural} {name}")
        if name in self.refused:
            raise Forbidden(f"DELETE {name}", 403, "a webhook says no")
        del self.objects[resource.plural, name]


def merged(value: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """`value` after a merge patch."""
    changed = dict(value)
    for name, change in patch.items():
        if change is None:
            changed.pop(name, None)
        elif isinstance(change, dict):
            changed[name] = merged(changed.get(name) or {}, change)
        else:
            changed[name] = change
    return changed


class Recorder(EventPoster):
    """Posts nothing, and knows what it would have posted."""

    def post(self, key: Key, uid: str, events: Any) -> None:
        self.posted: list[Event] = [*getattr(self, "posted", []), *events]


class Recording(Poller):
    """Answers what a test says."""

    said: ProgressHistory | None = None

    def history(self, key: Key) -> ProgressHistory | None:
        return self.said

    def watch(self, key: Key, trainer: Trainer) -> None:
        self.watched: list[Trainer] = [*getattr(self, "watched", []), trainer]


class World:
    """A job with objects, and a controller that looks at it."""

    def __init__(self, *things: tuple[Resource, dict[str, Any]]):
        self.client = FakeClient()
        for resource, thing in things:
            self.client.put(resource, thing)
        self.start_operator()

    def start_operator(self) -> None:
        """A new operator, which knows nothing but the objects."""
        self.now = T0 + 100

        async def ask(key: Key, trainer: Trainer) -> bytes:
            raise AssertionError("the poller does not run")

        store, metrics, queue = InformerCache(lambda: self.now), Metrics(), WorkQueue[Key](lambda: self.now)
        for (plural, _), thing in self.client.objects.items():
            store.put(next(one for one in WATCHED if one.plural == plural), thing)
        self.poster = Recorder(self.client, lambda: self.now)
        self.poster.posted = []
        self.poller = Recording(ask, queue.put, lambda: self.now, metrics, 5.0, random.Random(0))
        self.poller.watched = []
        apply = Apply(self.client, store, SETTINGS)
        self.controller = Controller(
            client=self.client,
            store=store,
            queue=queue,
            apply=apply,
            capacity_probes=CapacityProbes(self.client, store, SETTINGS),
            plans=Plans(),
            uncreated=Uncreated(self.client, lambda: self.now),
            admissions=Admissions(self.client, lambda: self.now),
            poller=self.poller,
            statuses=StatusWriter(self.client, store, queue, apply, self.poster, metrics, lambda: self.now),
            metrics=metrics,
            clock=lambda: self.now,
        )

    def look(self) -> float:
        return asyncio.run(self.controller.sync(KEY))

    def change(self, resource: Resource, name: str, patch: dict[str, Any]) -> None:
        """Somebody else changes an object."""
        thing = self.client.put(resource, merged(self.client.objects[resource.plural, name], patch))
        self.controller.store.put(resource, thing)

    @property
    def status(self) -> JobStatus:
        return JobStatus.model_validate(self.client.objects["lmtrainingjobs", KEY.name].get("status") or {})

    def counted(self) -> tuple[float, float]:
        """Attempts that ended, and recoveries that were measured, by the operator's metrics."""
        registry = self.controller.metrics.registry
        samples = [sample for metric in registry.collect() for sample in metric.samples]
        ended = sum(one.value for one in samples if one.name == "lateen_operator_attempts_ended_total")
        return ended, sum(one.value for one in samples if one.name == "lateen_operator_recovery_duration_seconds_count")
