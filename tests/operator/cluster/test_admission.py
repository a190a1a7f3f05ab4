"""What Kueue says of a job's attempt stands in its status."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
from lateen_api.spec import RecoverySpec
from lateen_api.status import ConditionType, JobStatus
from lateen_operator.cluster.admission import READ_EVERY_SECONDS, SERVED_WITHIN_SECONDS, Admissions
from lateen_operator.cluster.client import ApiError, Client, Forbidden, NotFound
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.observe import observe
from lateen_operator.cluster.resources import JOB_SETS, JOBS, PODS, Resource
from lateen_operator.cluster.termination import Termination
from lateen_operator.cluster.workload import admission_of, view_workload
from lateen_operator.conditions import conditions_of, state_of
from lateen_operator.observation import Observation, Target
from lateen_operator.process_exit import FailureClass
from lateen_operator.reconcile import RecordEnd, reconcile
from watched_objects import JOB_SET_UID, KEY, T0, at, job, job_set, pod

PENDING = (
    "couldn't assign flavors to pod set workers: insufficient unused quota for cpu in flavor default, 2 more needed"
)
PREEMPTED = "Preempted to accommodate a workload (UID: u, JobUID: j) due to prioritization in the ClusterQueue"


def workload(*conditions: tuple[str, str, str, str], uid: str = f"{JOB_SET_UID}-1", **more: Any) -> dict[str, Any]:
    """A Workload; conditions are type, status, reason and message."""
    told = [dict(zip(("type", "status", "reason", "message"), one, strict=True)) for one in conditions]
    return {
        "metadata": {"name": "jobset-nano-a1-abcde", "labels": {"kueue.x-k8s.io/job-uid": uid}},
        "spec": {"active": more.get("active", True)},
        "status": {"conditions": told, "admissionChecks": more.get("checks", [])},
    }


def said(*conditions: tuple[str, str, str, str], **more: Any) -> tuple[str, str] | None:
    """Reason and message for a Workload in queue `research`."""
    found = admission_of(view_workload(workload(*conditions, **more)), "research")
    return (found.reason, found.message) if found else None


class TestWhatAWorkloadSays:
    def test_quota_is_used_up(self):
        assert said(("QuotaReserved", "False", "Pending", PENDING)) == (
            "WaitingForAdmission",
            f"Kueue has not admitted it to queue research: Pending: {PENDING}.",
        )

    @pytest.mark.parametrize(
        ("words", "remedy"),
        [
            ("LocalQueue research doesn't exist", "Create the LocalQueue in the job's namespace, or correct spec"),
            ("ClusterQueue big doesn't exist", "Create the ClusterQueue, or have the LocalQueue name another."),
            ("LocalQueue research is inactive", "`kubectl describe localqueue research` says why"),
            ("ClusterQueue big is inactive", "`kubectl describe clusterqueue` says why"),
        ],
    )
    def test_a_queue_that_admits_nothing_comes_with_what_to_do(self, words, remedy):
        found = said(("QuotaReserved", "False", "Inadmissible", words))
        assert found is not None
        assert found[0] == "QueueInadmissible"
        assert found[1].startswith(f"Kueue has not admitted it to queue research: Inadmissible: {words}. {remedy}")

    def test_a_reason_of_another_version_is_waiting(self):
        found = said(("QuotaReserved", "False", "PendingDueToQuota", "later"))
        assert found is not None and found[0] == "WaitingForAdmission"

    def test_not_seen_yet(self):
        assert said() == ("WaitingForAdmission", "Kueue has not looked at it yet in queue research.")

    def test_checks_after_the_quota(self):
        reserved = ("QuotaReserved", "True", "QuotaReserved", "")
        check = {"name": "dws", "state": "Pending", "message": "Waiting for resources."}
        assert said(reserved, checks=[check, {"name": "done", "state": "Ready"}]) == (
            "WaitingForAdmission",
            "Kueue has reserved its quota in queue research; admission checks have not passed: "
            "dws: Pending: Waiting for resources.",
        )
        assert said(reserved) is None

    def test_deactivated(self):
        found = said(("QuotaReserved", "False", "Pending", ""), active=False)
        assert found == (
            "QueueInadmissible",
            "Its Workload is deactivated. Set spec.active of Workload jobset-nano-a1-abcde to true.",
        )


class FakeKueue:
    """Lists Workloads, of one version, and counts how often."""

    def __init__(self, *workloads: dict[str, Any], version: str | None = "v1beta2"):
        self.workloads, self.version = list(workloads), version
        self.lists = 0
        self.error: ApiError | None = None

    async def pages(
        self, resource: Resource, namespace: str, selector: str | None = None
    ) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
        if self.error is not None:
            raise self.error
        if resource.version != self.version:
            raise NotFound(f"GET {resource.plural}", 404, "404 page not found")
        self.lists += 1
        _, _, uid = (selector or "").partition("=")
        yield [of for of in self.workloads if uid in ("", of["metadata"]["labels"]["kueue.x-k8s.io/job-uid"])], 1


class World:
    """A job whose attempt is in queue `research`."""

    def __init__(self, kueue: FakeKueue, **of_job_set: Any):
        self.now = T0 + 20
        self.store = InformerCache(lambda: self.now)
        self.admissions = Admissions(cast(Client, kueue), lambda: self.now)
        self.store.put(JOBS, job())
        self.store.put(JOB_SETS, job_set(queue="research", **{"suspend": True, **of_job_set}))

    def look(self, seconds: float = 0.0, key: Key = KEY) -> Observation:
        self.now += seconds
        objects = self.store.get(key)
        seen = observe(objects, Target(RecoverySpec(), hosts=2), None, None, self.now)
        return asyncio.run(self.admissions.explain(key, objects, seen))


def queued(seen: Observation) -> tuple[str, str, str]:
    """Status, reason and message of the condition Queued."""
    decision = reconcile(seen, T0 + 20)
    state = state_of(seen, decision, seen.attempt)
    conditions = conditions_of(seen, decision, seen.attempt, state, JobStatus(), 1, T0)
    found = next(one for one in conditions if one.type is ConditionType.QUEUED)
    return found.status, found.reason, found.message


def test_the_condition_queued_has_the_words_of_the_queue():
    world = World(FakeKueue(workload(("QuotaReserved", "False", "Pending", PENDING))))
    assert queued(world.look()) == (
        "True",
        "WaitingForAdmission",
        f"Kueue has not admitted it to queue research: Pending: {PENDING}.",
    )


def test_an_older_kueue_is_understood():
    world = World(FakeKueue(workload(("QuotaReserved", "False", "Pending", PENDING)), version="v1beta1"))
    assert PENDING in queued(world.look())[2]


def test_a_cluster_without_kueue_says_so_at_once():
    status, reason, message = queued(World(FakeKueue(version=None)).look())
    assert (status, reason) == ("True", "QueueNotServed")
    assert message.endswith("Install Kueue, or remove spec.compute.queue.")


def test_a_kueue_that_does_not_look_after_job_sets_is_noticed_after_a_while():
    world = World(FakeKueue())
    assert queued(world.look())[1:] == ("WaitingForAdmission", "Queue research has not admitted it yet.")
    assert queued(world.look(SERVED_WITHIN_SECONDS))[1] == "QueueNotServed"


def test_without_the_right_to_list_workloads_the_job_waits_all_the_same(caplog):
    kueue = FakeKueue()
    kueue.error = Forbidden("GET workloads", 403, "no")
    assert queued(World(kueue).look())[1:] == ("WaitingForAdmission", "Queue research has not admitted it yet.")
    assert "the state in its queue is not known: GET workloads: 403 no" in caplog.text


def test_workloads_are_listed_seldom_and_once_for_all_jobs_of_a_namespace():
    kueue = FakeKueue(workload(("QuotaReserved", "False", "Pending", PENDING)))
    world = World(kueue)
    for _ in range(100):
        world.look(1)
        world.look()
    assert kueue.lists == 100 / READ_EVERY_SECONDS


def test_a_job_that_runs_or_has_no_queue_asks_nothing():
    kueue = FakeKueue()
    world = World(kueue, suspend=False)
    world.look(60)
    world = World(kueue)
    world.store.put(JOB_SETS, job_set(version=9, suspend=True))
    assert replace(world.look(60), requeue_at=0).admission is None
    assert kueue.lists == 0


def test_a_preempted_attempt_is_planned_and_says_what_kueue_says():
    evicted = ("Evicted", "True", "Preempted", f"{PREEMPTED}; preemptor path: /a")
    kueue = FakeKueue(workload(evicted), workload(evicted, uid="another"))
    world = World(kueue, conditions={"Suspended": 100})
    for host in (0, 1):
        world.store.put(PODS, pod(host, deleted=(100, 15), ended=(42, 103)))
    world.now = T0 + 105
    decision = reconcile(world.look(), world.now)
    world.look(30)
    assert isinstance(decision, RecordEnd)
    assert (decision.verdict.failure_class, decision.verdict.reason) == (FailureClass.PLANNED, "SuspendedByQueue")
    assert decision.verdict.message.endswith(f"The queue says: Preempted: {PREEMPTED}; preemptor path: /a")
    assert kueue.lists == 1


@pytest.mark.parametrize("is_gone", [False, True])
def test_it_stays_the_queue_when_a_process_that_starts_is_killed_and_the_operator_ends_its_peer(is_gone: bool):
    """Processes that have nothing to save yet do not leave together: the operator deletes the JobSet meanwhile."""
    world = World(FakeKueue(workload(("Evicted", "True", "Preempted", PREEMPTED))), conditions={"Suspended": 100})
    attempt = {"number": 1, "hosts": 2, "started": at(10)}
    world.store.put(JOBS, job(2, status={"state": "Starting", "attempts": [attempt]}))
    world.store.put(PODS, pod(0, deleted=(100, 15), ended=(143, 101)))
    world.store.put(PODS, pod(1, deleted=(100, 15), ended=(137, 112)))
    stopped = job_set(
        version=9, queue="research", suspend=True, conditions={"Suspended": 100}, deleted=107,
        stopping=Termination(T0 + 106).to_json(),
    )  # fmt: skip
    world.store.put(JOB_SETS, stopped)
    if is_gone:
        world.store.remove(JOB_SETS, stopped)
    world.now = T0 + 115
    decision = reconcile(world.look(), world.now)
    assert isinstance(decision, RecordEnd)
    assert (decision.verdict.failure_class, decision.verdict.reason) == (FailureClass.PLANNED, "SuspendedByQueue")
    assert decision.verdict.message.endswith(f"The queue says: Preempted: {PREEMPTED}")
