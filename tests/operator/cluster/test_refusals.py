"""What the API server refuses: it is told in its own words, once, costs no attempt, and is over when the cause is."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from lateen_api.status import JobStatus
from lateen_operator.cluster.admission import Admissions
from lateen_operator.cluster.apply import Apply
from lateen_operator.cluster.capacity_probes import CapacityProbes
from lateen_operator.cluster.client import ApiError, Conflict, Forbidden, Invalid, NotFound
from lateen_operator.cluster.controller import Controller
from lateen_operator.cluster.event_poster import EventPoster
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.planned import Plans
from lateen_operator.cluster.poller import Poller, Trainer
from lateen_operator.cluster.refusals import RETRIED_WITHIN_SECONDS, blocked, blocked_by
from lateen_operator.cluster.resources import EVENTS, JOB_SETS, JOBS
from lateen_operator.cluster.status_writer import StatusWriter
from lateen_operator.cluster.uncreated import Uncreated
from lateen_operator.cluster.work_queue import WorkQueue
from lateen_operator.settings import OperatorSettings
from stored_jobs import NANO, body
from watched_objects import KEY, T0, UID, at

QUOTA = 'jobsets.jobset.x-k8s.io "nano-a1" is forbidden: exceeded quota: none, requested: count/jobsets=1, limited: 0'
POD_QUOTA = 'Error creating: pods "nano-a1-workers-0-0-x" is forbidden: exceeded quota: pods, limited: pods=0'


class FakeServer:
    """Stores what is created, unless it is to refuse it."""

    def __init__(self) -> None:
        self.refuse: dict[tuple[str, str], Exception] = {}
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.questions: list[str] = []
        self._versions = itertools.count(10)

    def check(self, verb: str, plural: str) -> None:
        if error := self.refuse.get((verb, plural)):
            raise error

    async def create(self, resource, wanted):
        self.check("create", resource.plural)
        name = wanted["metadata"]["name"]
        if (resource.plural, name) in self.objects:
            raise Conflict(f"POST {resource.plural}", 409, "exists", "AlreadyExists")
        stored = {**wanted, "metadata": {**wanted["metadata"], "uid": f"uid-{name}", "creationTimestamp": at(0)}}
        return self.store(resource, stored)

    def store(self, resource, thing) -> dict[str, Any]:
        thing = {**thing, "metadata": {**thing["metadata"], "resourceVersion": str(next(self._versions))}}
        self.objects[resource.plural, thing["metadata"]["name"]] = thing
        return thing

    async def get(self, resource, namespace, name):
        if (resource.plural, name) not in self.objects:
            raise NotFound(f"GET {resource.plural}", 404, "not found")
        return self.objects[resource.plural, name]

    async def merge(self, resource, namespace, name, patch, subresource=None):
        self.check("patch", resource.plural)
        thing = self.objects[resource.plural, name]
        part = subresource or "spec"
        merged = {**thing.get(part, {}), **patch.get(part, {})}
        kept = {key: value for key, value in merged.items() if value is not None}
        notes = {**thing["metadata"].get("annotations", {}), **patch["metadata"].get("annotations", {})}
        return self.store(resource, {**thing, part: kept, "metadata": {**thing["metadata"], "annotations": notes}})

    async def delete(self, resource, namespace, name, uid, propagation="Background"):
        self.check("delete", resource.plural)
        self.objects.pop((resource.plural, name), None)

    async def pages(self, resource, namespace, selector=None, fields=None) -> AsyncIterator[tuple[list[Any], int]]:
        assert resource is EVENTS and fields is not None
        self.questions.append(fields)
        self.check("list", "events")
        wanted = dict(part.split("=") for part in fields.split(","))
        yield [one for one in self.events if one["involvedObject"]["kind"] == wanted["involvedObject.kind"]], 1


class World:
    """A controller on the fake server, with a clock that a test moves."""

    def __init__(self, *overrides: str) -> None:
        self.now = T0 + 1
        self.server = FakeServer()
        self.store = InformerCache(lambda: self.now)
        client: Any = self.server
        self.queue: WorkQueue[Key] = WorkQueue(lambda: self.now)
        settings, metrics = OperatorSettings(), Metrics()
        self.poller = Poller(
            fetch=_nobody, wake=self.queue.put, clock=lambda: self.now, metrics=metrics, seconds=5, rng=random.Random(0)
        )
        self.poster = EventPoster(client, lambda: self.now)
        self.told: list[tuple[str, str]] = []
        self.poster.post = lambda key, uid, events: self.told.extend((e.reason, e.message) for e in events)  # type: ignore[method-assign]
        apply = Apply(client, self.store, settings)
        self.controller = Controller(
            client=client,
            store=self.store,
            queue=self.queue,
            apply=apply,
            capacity_probes=CapacityProbes(client, self.store, settings),
            plans=Plans(),
            uncreated=Uncreated(client, lambda: self.now),
            admissions=Admissions(client, lambda: self.now),
            poller=self.poller,
            statuses=StatusWriter(client, self.store, self.queue, apply, self.poster, metrics, lambda: self.now),
            metrics=metrics,
            clock=lambda: self.now,
        )
        job = body(NANO, *overrides)
        job["metadata"] = {**job["metadata"], "name": KEY.name, "namespace": KEY.namespace, "uid": UID}
        job["metadata"] |= {"creationTimestamp": at(0), "generation": 1}
        self.put(JOBS, job)

    def put(self, resource, thing) -> None:
        self.store.put(resource, self.server.store(resource, thing))

    def look(self, seconds: float = 0.0) -> None:
        """A worker's turn, so much later: what it raises is the queue's to repeat."""
        self.now += seconds
        try:
            asyncio.run(self.controller.sync(KEY))
        except Exception as error:
            self.error: Exception | None = error
            self.queue._failures[KEY] = self.queue.failures(KEY) + 1
        else:
            self.error = None
            self.queue._failures.pop(KEY, None)

    @property
    def status(self) -> JobStatus:
        return JobStatus.model_validate(self.server.objects["lmtrainingjobs", KEY.name].get("status") or {})

    @property
    def blocked(self) -> tuple[str, str, str]:
        condition = next(one for one in self.status.conditions if one.type == "Blocked")
        return condition.status, condition.reason, condition.message


async def _nobody(key: Key, trainer: Trainer) -> bytes:
    raise AssertionError("nobody is asked in these tests")


@pytest.mark.parametrize("plural", ["jobsets", "configmaps", "networkpolicies"])
def test_a_refused_object_is_told_once_and_costs_nothing(plural):
    world = World()
    world.server.refuse["create", plural] = Forbidden(f"POST /x/{plural}", 403, QUOTA)
    for _ in range(5):
        world.look(10)
    assert (world.status.state, world.status.attempt_count) == ("Blocked", 0)
    message = (
        f"The API server refuses the operator's POST /x/{plural}: {QUOTA}. Have the ResourceQuota raised, or free a "
        "part of it. It is tried again, and the job goes on by itself."
    )
    assert world.blocked == ("True", "QuotaExceeded", message)
    assert world.told == [("QuotaExceeded", message)]
    world.server.refuse.clear()
    world.look(10)
    assert world.blocked == ("False", "NotBlocked", "")
    assert (world.status.attempt_count, [entry.number for entry in world.status.attempts]) == (1, [1])
    assert [reason for reason, _ in world.told] == ["QuotaExceeded", "AttemptStarted"]


def test_a_policy_that_passes_does_not_refuse_for_good():
    world = World()
    denied = "ValidatingAdmissionPolicy 'freeze' with binding 'freeze' denied request: no jobs today"
    world.server.refuse["create", "jobsets"] = Invalid("POST /x/jobsets", 422, denied, "Invalid")
    world.look()
    assert (world.status.state, world.blocked[:2]) == ("Blocked", ("True", "PolicyDenied"))
    assert denied in world.blocked[2]
    world.server.refuse.clear()
    world.look(10)
    assert (world.blocked[0], world.status.attempt_count) == ("False", 1)


def test_a_foreign_object_is_named():
    world = World()
    world.put(JOB_SETS, {"metadata": {"name": "nano-a1", "namespace": KEY.namespace, "uid": "other"}})
    world.look()
    assert world.blocked == (
        "True",
        "NameTaken",
        "Jobsets team/nano-a1 exists and does not belong to the job nano: expected no such object. "
        "Delete or rename it. It is tried again, and the job goes on by itself.",
    )


def test_a_webhook_that_is_away_for_a_moment_is_no_news():
    world = World()
    away = 'Internal error occurred: failed calling webhook "mjobset.kb.io": connection refused'
    world.server.refuse["create", "jobsets"] = ApiError("POST /x/jobsets", 500, away, "InternalError")
    for _ in range(3):
        world.look(1)
    assert world.told == []
    world.look(4)
    assert (world.blocked[:2], len(world.told)) == (("True", "WebhookFailed"), 1)


def test_a_refused_suspension_is_told_while_the_job_runs_on():
    world = World()
    world.look()
    job = world.server.objects["lmtrainingjobs", KEY.name]
    world.put(JOBS, {**job, "spec": {**job["spec"], "suspend": True}})
    world.server.refuse["patch", "jobsets"] = Forbidden("PATCH /x/jobsets/nano-a1", 403, "policy: no")
    for _ in range(3):
        world.look(1)
    assert world.blocked[:2] == ("True", "Refused")
    assert [reason for reason, _ in world.told].count("Refused") == 1
    world.server.refuse.clear()
    world.look(1)
    assert (world.blocked[0], world.status.state) == ("False", "Stopping")


def test_a_job_set_whose_change_meets_another_is_not_taken_for_gone():
    """The API server answers so, too, where several change an object at a time."""
    world = World()
    world.look()
    job = world.server.objects["lmtrainingjobs", KEY.name]
    world.put(JOBS, {**job, "spec": {**job["spec"], "suspend": True}})
    world.server.refuse["patch", "jobsets"] = Conflict("PATCH /x/jobsets/nano-a1", 409, "modified", "Conflict")
    world.look(1)
    assert isinstance(world.error, Conflict)
    world.server.refuse.clear()
    world.look(1)
    assert (world.error, world.status.state, len(world.status.attempts)) == (None, "Stopping", 1)
    assert world.server.objects["jobsets", "nano-a1"]["spec"]["suspend"] is True


def test_a_refused_deletion_is_told_once_and_cleared():
    world = World()
    world.look()
    older = world.server.objects["jobsets", "nano-a1"]
    metadata = {**older["metadata"], "name": "nano-a0", "uid": "old"}
    metadata["labels"] = {**metadata["labels"], "lateen.dev/attempt": "0"}
    world.put(JOB_SETS, {**older, "metadata": metadata})
    world.server.refuse["delete", "jobsets"] = Forbidden("DELETE /x/jobsets/nano-a0", 403, "policy: no")
    for _ in range(4):
        world.look(10)
    assert world.blocked[:2] == ("True", "Refused")
    assert [reason for reason, _ in world.told].count("Refused") == 1
    world.server.refuse.clear()
    world.look(10)
    assert world.blocked[0] == "False"


def test_a_job_whose_own_deletion_is_refused_stays_complete():
    world = World("ttlAfterFinished=1m")
    done = {
        "number": 1,
        "hosts": 1,
        "started": at(0),
        "ended": at(1),
        "failureClass": "Done",
        "exitCode": 0,
        "message": "done",
    }
    job = world.server.objects["lmtrainingjobs", KEY.name]
    world.put(JOBS, {**job, "status": {"state": "Complete", "attempts": [done | {"step": 10_000_000}]}})
    world.server.refuse["delete", "lmtrainingjobs"] = Forbidden("DELETE /x/nano", 403, "policy: no")
    world.look(100)
    assert (world.status.state, world.blocked[:2]) == ("Complete", ("True", "Refused"))


def event(message: str, kind: str = "Job", reason: str = "FailedCreate", seconds: float = 20) -> dict[str, Any]:
    name = "nano-a1-workers-0" if kind == "Job" else "nano-a1"
    return {
        "involvedObject": {"kind": kind, "name": name},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": at(seconds),
    }


def test_pods_that_are_refused_say_why():
    world = World()
    world.look()
    world.server.events = [event("older words", seconds=10), event(POD_QUOTA)]
    world.look(5)
    assert (world.status.state, world.server.questions) == ("Queued", [])
    world.look(10)
    assert (world.status.state, world.blocked[:2]) == ("Blocked", ("True", "QuotaExceeded"))
    assert f"The API server refuses its pods: {POD_QUOTA}. Have the ResourceQuota raised" in world.blocked[2]
    world.look(10)
    assert [reason for reason, _ in world.told] == ["AttemptStarted", "QuotaExceeded"]
    assert world.status.attempt_count == 1


def test_jobs_that_are_refused_say_why():
    world = World()
    world.look()
    world.server.events = [event("jobs.batch is forbidden: policy", kind="JobSet", reason="JobCreationFailed")]
    world.look(15)
    assert "The API server refuses its Jobs: jobs.batch is forbidden: policy." in world.blocked[2]


def test_a_slice_whose_first_pod_is_awaited_is_not_blocked():
    world = World()
    world.look()
    world.server.events = [event("leader pod not yet scheduled, not creating follower pod")]
    world.look(15)
    assert world.blocked[0] == "False"


def test_without_the_right_to_list_events_the_job_goes_on():
    world = World()
    world.look()
    world.server.refuse["list", "events"] = Forbidden("GET events", 403, "no")
    world.look(15)
    assert (world.error, world.status.state, world.blocked[0]) == (None, "Queued", "False")


def test_events_are_asked_for_seldom():
    world = World()
    world.look()
    for _ in range(100):
        world.look(1)
    assert len(world.server.questions) <= 2 * 11


def test_start_deadline_runs_for_pods_that_are_never_created():
    world = World("recovery.startDeadline=1m")
    world.look()
    world.server.events = [event(POD_QUOTA)]
    world.look(50)
    assert (world.status.attempts[-1].ended, world.status.state) == (None, "Blocked")
    world.look(15)
    assert (world.server.objects["jobsets", "nano-a1"]["spec"]["suspend"], world.status.state) == (True, "Stopping")
    running = next(one for one in world.status.conditions if one.type == "Running")
    assert "(spec.recovery.startDeadline): process 0 waits: the API server refuses its pods" in running.message


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("pods is forbidden: violates PodSecurity restricted:latest: hostPath volumes", "PodSecurity"),
        ('jobsets is forbidden: User "system:serviceaccount:a:b" cannot create resource in API group "x"', "NoRight"),
        (
            'pods "x" is forbidden: error looking up service account a/b: serviceaccount "b" not found',
            "NoServiceAccount",
        ),
        ('admission webhook "vjobset.kb.io" denied the request: no', "WebhookDenied"),
        ('Job.batch "x" is invalid: spec.template.labels: Invalid value', "Invalid"),
        ("something else", "Refused"),
    ],
)
def test_reasons(words, reason):
    assert blocked(words, "its pods").reason == reason


def test_no_answer_and_conflicts_are_no_refusals():
    assert blocked_by(ApiError("POST x", 0, "refused"), 100) is None
    assert blocked_by(Conflict("PATCH x", 409, "changed", "Conflict"), 100) is None


def test_long_words_fit_into_an_event():
    assert len(blocked("x" * 5000, "its pods").message) < 1024


def test_refused_calls_are_repeated_within_seconds():
    queue: WorkQueue[str] = WorkQueue(lambda: 0.0)
    delays = []
    for _ in range(8):
        queue.put("a")
        asyncio.run(queue.get())
        delays.append(queue.put_backoff("a", RETRIED_WITHIN_SECONDS))
        queue._due.clear()
        queue._heap.clear()
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
