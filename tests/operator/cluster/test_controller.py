"""Rounds of the controller on a cluster whose objects are plain dictionaries."""

import asyncio
import copy
import random
from typing import Any

import pytest
from lateen_api.progress import Phase, Progress
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
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, PODS, WATCHED, Resource
from lateen_operator.cluster.status_writer import StatusWriter
from lateen_operator.cluster.uncreated import Uncreated
from lateen_operator.cluster.work_queue import WorkQueue
from lateen_operator.events import Event
from lateen_operator.progress_history import ProgressHistory
from lateen_operator.resolve import resolve
from stored_jobs import NANO, SETTINGS
from watched_objects import KEY, T0, at, config_map, job, job_set, pod


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
        return self.put(resource, _merged(self.objects[resource.plural, name], patch))

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, propagation: str = "Background"
    ) -> None:
        self.calls.append(f"delete {resource.plural} {name}")
        if name in self.refused:
            raise Forbidden(f"DELETE {name}", 403, "a webhook says no")
        del self.objects[resource.plural, name]


def _merged(value: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(value)
    for name, change in patch.items():
        if change is None:
            merged.pop(name, None)
        elif isinstance(change, dict):
            merged[name] = _merged(merged.get(name) or {}, change)
        else:
            merged[name] = change
    return merged


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
        thing = self.client.put(resource, _merged(self.client.objects[resource.plural, name], patch))
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


FIRST = {
    "number": 1,
    "hosts": 2,
    "started": at(10),
    "ended": at(50),
    "failureClass": "Planned",
    "exitCode": 42,
    "message": "it was evicted",
    "step": 20,
    "firstStep": 0,
}
SPEC = NANO["spec"]


def second_attempt_trains() -> World:
    """Attempt 1 ended, 2 runs and has trained since 8.5 s after that."""
    first = FIRST | {"specDigest": digest()}
    status = {"attempts": [first, {"number": 2, "hosts": 2, "started": at(52), "specDigest": digest()}]}
    attempt = job_set(2)
    attempt["metadata"]["annotations"]["lateen.dev/spec-digest"] = digest()
    kept = config_map(2, ledger={"attempts": [first], "budgets": {"preemptions": 1}})
    things = [pod(host, attempt=2, created=52) for host in (0, 1)]
    world = World(
        (JOBS, job(status=status | {"budgets": {"preemptions": 1}}, **SPEC)),
        (JOB_SETS, attempt),
        (CONFIG_MAPS, kept),
        *((PODS, one) for one in things),
    )
    trained(world, 58.5, step=24)
    return world


def digest() -> str:
    return str(resolve(job(**SPEC)).digest)


def trained(world: World, seconds: float, step: int) -> None:
    progress = Progress(phase=Phase.TRAINING, since=T0 + seconds, step=step, of=560, last_checkpoint_step=20)
    world.poller.said = ProgressHistory(2, silent_since=None, progress=progress, moved_at=T0 + seconds)


def wipe(world: World) -> None:
    world.change(JOBS, KEY.name, {"status": None})


@pytest.mark.parametrize("new_operator", [False, True])
def test_nothing_is_counted_posted_or_measured_again_after_a_wipe(new_operator: bool) -> None:
    world = second_attempt_trains()
    world.look()
    assert (world.status.attempts[0].seconds_to_next_step, world.counted()) == (8.5, (0, 1))
    before = world.status
    world.poster.posted.clear()

    wipe(world)
    if new_operator:
        world.start_operator()
    trained(world, 109, step=90)
    counted = world.counted()
    world.look()
    assert [(a.number, a.ended, a.seconds_to_next_step) for a in world.status.attempts] == [
        (a.number, a.ended, a.seconds_to_next_step) for a in before.attempts
    ]
    assert (world.counted(), world.poster.posted) == (counted, [])
    assert world.status.budgets == before.budgets


def test_an_end_that_was_told_is_not_told_again_after_a_wipe() -> None:
    world = second_attempt_trains()
    world.look()
    for host in (0, 1):
        world.change(PODS, pod(host, attempt=2)["metadata"]["name"], {"status": _ended(1, 90)})
    world.change(JOBS, KEY.name, {"spec": {"recovery": {"maxFailures": 0}}, "metadata": {"generation": 2}})
    world.look()
    assert (world.status.state, world.counted()[0]) == ("Failed", 1)
    assert [event.reason for event in world.poster.posted if event.reason.startswith("AttemptUser")] == ["AttemptUser"]
    before = world.status
    world.poster.posted.clear()

    wipe(world)
    world.start_operator()
    world.look()
    assert (world.status.state, world.counted()[0], world.poster.posted) == ("Failed", 0, [])
    assert [a.ended for a in world.status.attempts] == [a.ended for a in before.attempts]
    assert world.status.budgets == before.budgets


def _ended(code: int, seconds: float) -> dict[str, Any]:
    return pod(ended=(code, seconds))["status"]


def test_an_attempt_without_anything_new_is_not_patched() -> None:
    world = second_attempt_trains()
    world.poller.said = None
    world.look()
    assert "patch jobsets nano-a2" not in world.client.calls


def test_a_refused_deletion_of_a_former_job_set_keeps_nothing_else_waiting() -> None:
    world = second_attempt_trains()
    world.client.put(JOB_SETS, job_set(1))
    world.client.put(CONFIG_MAPS, config_map(1))
    world.client.refused = {"nano-a1"}
    world.start_operator()
    again = world.look()
    assert {trainer.attempt for trainer in world.poller.watched} == {2}
    assert "create networkpolicies nano-network" in world.client.calls
    assert (again, world.client.calls.count("delete jobsets nano-a1")) == (1.0, 1)
    [warning] = [event for event in world.poster.posted if event.type == "Warning"]
    assert (warning.reason, "DELETE nano-a1: a webhook says no." in warning.message) == ("Refused", True)

    world.look()
    assert world.client.calls.count("delete jobsets nano-a1") == 1
    world.now += 1
    assert world.look() == 2.0
    world.now += 2
    world.client.refused = set()
    world.look()
    assert ("jobsets", "nano-a1") not in world.client.objects
    assert [event.reason for event in world.poster.posted].count("Refused") == 1
