"""From objects to what a decision depends on: how processes ended, what they wait for, and what the ledger says."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from lateen_api.progress import Phase, Progress
from lateen_api.spec import RecoverySpec
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_operator.attempts import Start
from lateen_operator.cluster.observe import observe
from lateen_operator.cluster.status_patch import written
from lateen_operator.cluster.termination import Termination
from lateen_operator.observation import Observation, Target
from lateen_operator.process_exit import NODE_LOST, POD_DELETED, FailureClass
from lateen_operator.progress_history import ProgressHistory
from lateen_operator.reconcile import RecordEnd, reconcile
from lateen_operator.status_builder import build_status
from lateen_operator.stragglers import SlowProcess
from lateen_operator.verdict import Verdict, classify
from watched_objects import KEY, T0, UID, Cluster, at, capacity_probe, config_map, job, job_set, pod

TARGET = Target(recovery=RecoverySpec(), hosts=2, host_counts=(1, 2), digest="d1")
RUNNING = (job(), job_set(), pod(0), pod(1))


def look(cluster: Cluster, seconds: float = 100, history: ProgressHistory | None = None) -> Observation:
    return observe(cluster.store.get(KEY), TARGET, None, history, T0 + seconds)


def judged(cluster: Cluster, seconds: float = 100) -> Verdict:
    return classify(look(cluster, seconds).ends)


def stopping(seconds: float = 50, **verdict: Any) -> str:
    cause = Verdict(FailureClass.REQUESTED, ExitCode.SAVED, "it was asked to stop", reason="Stopped")
    return Termination(T0 + seconds, replace(cause, **verdict)).to_json()


def test_a_job_without_objects_has_no_attempt() -> None:
    seen = look(Cluster(job()))
    assert (seen.attempts, seen.processes) == ((), ())


def test_a_job_set_that_nobody_wrote_down_is_an_attempt() -> None:
    attempt = look(Cluster(job(), job_set(3))).attempt
    assert attempt is not None
    assert (attempt.number, attempt.hosts, attempt.wanted_hosts, attempt.digest) == (3, 2, 2, "d1")
    assert attempt.started_at == T0 + 10


def test_processes_are_numbered_slice_first() -> None:
    seen = look(Cluster(job(), job_set(slices=2), pod(1, slice_index=1), pod(0, slice_index=1)))
    assert [(process.number, process.running) for process in seen.processes] == [
        (0, False),
        (1, False),
        (2, True),
        (3, True),
    ]


def test_pods_that_run_have_not_ended() -> None:
    seen = look(Cluster(*RUNNING))
    assert [(p.number, p.placed, p.running, p.end, p.node) for p in seen.processes] == [
        (0, True, True, None, "node-0"),
        (1, True, True, None, "node-1"),
    ]
    assert seen.requeue_at == math.inf


def test_a_process_without_pod_waits_for_it() -> None:
    process = look(Cluster(job(), job_set(), pod(0))).processes[1]
    assert (process.placed, process.running, process.waiting_for) == (False, False, "its pod is not created yet")


def test_a_process_in_a_queue_waits_for_admission() -> None:
    process = look(Cluster(job(), job_set(queue="research", suspend=True))).processes[0]
    assert process.waiting_for == "admission by queue research"


def test_an_attempt_in_a_queue_is_admitted_when_its_job_set_is_resumed() -> None:
    def seen(job_set: dict[str, Any], *pods: dict[str, Any], **entry: Any) -> tuple[str | None, float | None]:
        attempt = look(Cluster(job(status=_status(1, **entry)), job_set, *pods)).attempt
        assert attempt is not None
        return attempt.queue, attempt.admitted_at

    assert seen(job_set(suspend=True, queue="research")) == ("research", None)
    resumed = job_set(queue="research")
    resumed["status"] = {"conditions": [{"type": "Suspended", "status": "False", "lastTransitionTime": at(40)}]}
    assert seen(resumed, pod(0)) == ("research", T0 + 40)
    # The queue takes back the machines of an attempt that has run.
    evicted = job_set(suspend=True, queue="research", conditions={"Suspended": 80})
    known = {"queue": "research", "admitted": at(40)}
    assert seen(evicted, pod(0, ended=(42, 81)), **known) == ("research", T0 + 40)
    assert seen(job_set(), pod(0)) == (None, None)


def test_an_unschedulable_pod_says_why() -> None:
    process = look(Cluster(job(), job_set(), pod(0, placed=False))).processes[0]
    assert (process.placed, process.waiting_since) == (False, None)
    assert process.waiting_for == "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."


def test_a_pod_whose_image_is_missing_says_so_and_since_when_it_has_its_machine() -> None:
    process = look(Cluster(job(), job_set(), pod(0, waiting=("ErrImagePull", "not found")))).processes[0]
    assert (process.placed, process.running, process.waiting_for) == (True, False, "ErrImagePull: not found")
    assert process.waiting_since == T0 + 12


def test_an_exit_code_is_an_end_of_its_own() -> None:
    end = look(Cluster(job(), job_set(), pod(0), pod(1, ended=(1, 40)))).ends[0]
    assert (end.process, end.exit_code, end.at, end.reason, end.asked, end.node) == (
        1,
        1,
        T0 + 40,
        None,
        False,
        "node-1",
    )


def test_the_termination_message_is_read() -> None:
    outcome = TerminationMessage(ExitCode.SAVED, "saved", step=12, checkpoint="gs://r/step-00000012")
    seen = look(Cluster(job(), job_set(), pod(0, ended=(42, 40), message=outcome.to_json()), pod(1)))
    assert seen.ends[0].termination == outcome
    assert seen.attempt is not None
    assert (seen.attempt.step, seen.attempt.checkpoint_step) == (12, 12)


def test_half_a_termination_message_is_none() -> None:
    seen = look(Cluster(job(), job_set(), pod(0, ended=(1, 40), message='{"exitCode": 4')))
    assert seen.ends[0].termination is None


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"disruption": "PreemptionByScheduler", "deleted": (30, 20)}, "PreemptionByScheduler"),
        ({"disruption": "EvictionByEvictionAPI", "deleted": (30, 20)}, "EvictionByEvictionAPI"),
        ({"pod_reason": "Evicted"}, "Evicted"),
        ({"reason": "OOMKilled"}, "OOMKilled"),
        ({"reason": "ContainerStatusUnknown"}, "ContainerStatusUnknown"),
        ({"reason": "Error"}, None),
        ({"reason": "OOMKilled", "pod_reason": "Evicted"}, "OOMKilled"),
        ({"deleted": (20, 20)}, POD_DELETED),
        ({"deleted": (30, 20)}, None),  # kubelets kill no pod in its grace
    ],
)
def test_the_platform_s_reason_is_kept(what: dict[str, Any], reason: str | None) -> None:
    end = look(Cluster(job(), job_set(), pod(0), pod(1, ended=(137, 40), **what))).ends[0]
    assert (end.reason, end.asked) == (reason, False)


@pytest.mark.parametrize(
    ("disrupted", "reason", "kept"),
    [
        (39, "OOMKilled", "EvictionByEvictionAPI"),
        (40, "OOMKilled", "OOMKilled"),
        (45, "OOMKilled", "OOMKilled"),
        (None, "OOMKilled", "OOMKilled"),
        (39, "Error", "EvictionByEvictionAPI"),
        (40, "Error", "EvictionByEvictionAPI"),
        (45, "Error", None),
        (None, "Error", "EvictionByEvictionAPI"),
    ],
)
def test_an_end_is_not_explained_by_an_eviction_that_came_after_it(
    disrupted: float | None, reason: str, kept: str | None
) -> None:
    evicted = pod(1, ended=(137, 40), reason=reason, disruption="EvictionByEvictionAPI", disrupted=disrupted)
    assert look(Cluster(job(), job_set(), pod(0), evicted)).ends[0].reason == kept


def test_out_of_memory_while_another_s_pod_is_deleted_is_out_of_memory() -> None:
    cluster = Cluster(
        job(), job_set(), pod(0, ended=(137, 41), reason="OOMKilled"), pod(1, deleted=(40, 20), ended=(42, 43))
    )
    verdict = judged(cluster)
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.INFRASTRUCTURE, "OOMKilled", 0)


def test_an_end_whose_time_the_kubelet_lost_is_dated_by_the_pod_s_conditions() -> None:
    seen = look(Cluster(job(), job_set(), pod(1, ended=(137, 0), reason="ContainerStatusUnknown")))
    assert seen.ends[0].at == T0 + 12


def test_a_pod_that_failed_before_its_container_started_was_killed() -> None:
    seen = look(Cluster(job(), job_set(), pod(1, phase="Failed", pod_reason="Evicted", running=False)))
    assert (seen.ends[0].exit_code, seen.ends[0].reason) == (137, "Evicted")


def test_a_peer_that_its_job_deleted_after_another_s_failure_was_asked() -> None:
    cluster = Cluster(job(), job_set(), pod(0, ended=(1, 40)), pod(1, deleted=(41, 20), ended=(143, 42)))
    ends = look(cluster).ends
    assert [(end.process, end.reason, end.asked) for end in ends] == [(0, None, False), (1, None, True)]
    assert judged(cluster).process == 0


def test_deleted_in_the_second_of_the_failure_counts_as_its_consequence() -> None:
    cluster = Cluster(job(), job_set(), pod(0, ended=(1, 40)), pod(1, deleted=(40, 20), ended=(143, 42)))
    assert judged(cluster).exit_code == 1


def test_a_peer_that_left_by_itself_before_it_was_deleted_was_not_asked() -> None:
    cluster = Cluster(job(), job_set(), pod(0, ended=(1, 40)), pod(1, deleted=(46, 20), ended=(44, 45)))
    assert [end.asked for end in look(cluster).ends] == [False, False]


@pytest.mark.parametrize("left_at", [44, 40])
def test_a_deleted_pod_is_the_cause_although_its_peers_save_and_leave_with_it(left_at: float) -> None:
    """Also where all of it happens within a second."""
    cluster = Cluster(job(), job_set(), pod(0, ended=(42, left_at)), pod(1, deleted=(40, 20), ended=(42, left_at)))
    verdict = judged(cluster)
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.PLANNED, POD_DELETED, 1)


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_deleted_pod_is_the_cause_although_its_kubelet_wrote_a_later_time_on_it(is_gone: bool) -> None:
    """A kubelet that is done with a pod shortens its grace to 0, which moves its deletionTimestamp to now."""
    cluster = Cluster(job(), job_set(), pod(0, ended=(42, 40)), pod(1, deleted=(40, 15)))
    cluster.put(pod(1, version=6, deleted=(40, 15), ended=(42, 40)))
    cluster.put(pod(1, version=7, deleted=(41, 0), ended=(42, 40)))
    if is_gone:
        cluster.remove(pod(1, version=8, deleted=(41, 0), ended=(42, 40)), seconds=41)
    verdict = judged(cluster)
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.PLANNED, POD_DELETED, 1)


def test_a_deleted_pod_that_used_up_its_grace_was_not_killed_by_another_for_its_kubelet_s_late_word() -> None:
    cluster = Cluster(job(), job_set(), pod(0, ended=(42, 41)), pod(1, deleted=(40, 15)))
    cluster.remove(pod(1, version=6, deleted=(59, 0), ended=(137, 55)), seconds=59)
    verdict = judged(cluster)
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.PLANNED, POD_DELETED, 1)


def test_a_process_killed_in_its_grace_was_killed_although_its_kubelet_ended_the_grace_with_it() -> None:
    cluster = Cluster(job(), job_set(), pod(0, ended=(44, 43)), pod(1, deleted=(40, 15)))
    cluster.remove(pod(1, version=6, deleted=(43, 0), ended=(137, 43)), seconds=43)
    verdict = judged(cluster)
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.INFRASTRUCTURE, "SIGKILL", 1)


def test_a_pod_forced_out_after_it_was_deleted_is_gone_at_the_later_order() -> None:
    cluster = Cluster(job(), job_set(), pod(0), pod(1, deleted=(40, 600)))
    cluster.put(pod(1, version=6, deleted=(50, 0)))
    end = look(cluster, 60).ends[0]
    assert (end.reason, end.at) == (POD_DELETED, T0 + 50)


def test_a_peer_that_its_job_deleted_after_another_saved_and_left_was_asked() -> None:
    cluster = Cluster(job(), job_set(), pod(0, ended=(42, 40)), pod(1, deleted=(41, 20), ended=(42, 42)))
    assert [(end.reason, end.asked) for end in look(cluster).ends] == [(None, False), (None, True)]


def test_a_peer_that_its_job_deleted_in_the_second_of_an_eviction_was_asked() -> None:
    """Its end was not reported yet when the Job failed."""
    evicted = pod(1, deleted=(40, 20), disruption="EvictionByEvictionAPI", ended=(42, 40))
    cluster = Cluster(job(), job_set(), pod(0, deleted=(40, 20), ended=(42, 40)), evicted)
    assert [(end.reason, end.asked) for end in look(cluster).ends] == [(None, True), ("EvictionByEvictionAPI", False)]
    assert judged(cluster).process == 1


@pytest.mark.parametrize("code", [42, 47])
def test_a_pod_deleted_before_all_had_met_is_the_cause_although_its_peer_lost_it(code: int) -> None:
    cluster = Cluster(job(), job_set(), pod(0, ended=(44, 40)), pod(1, deleted=(40, 20), ended=(code, 40)))
    verdict = judged(cluster)
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.PLANNED, POD_DELETED, 1)


def test_a_frozen_process_that_its_job_deleted_is_blamed_and_not_its_peer() -> None:
    said = TerminationMessage(ExitCode.LOST_PEER, "Process 1 has been silent for 31 s.", lost_process=1).to_json()
    cluster = Cluster(job(), job_set(), pod(0, ended=(44, 40), message=said), pod(1, deleted=(40, 20), ended=(137, 60)))
    verdict = judged(cluster)
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.INFRASTRUCTURE, "LostPeer", 1)
    assert verdict.node == "node-1"


@pytest.mark.parametrize("key", ["terminatingSince", "toldAt"], ids=["now", "before"])
def test_terminated_processes_were_asked(key: str) -> None:
    told = job_set(stopping=stopping(50).replace("terminatingSince", key), suspend=True)
    cluster = Cluster(job(), told, pod(0, deleted=(50, 20), ended=(42, 55)), pod(1, deleted=(50, 20), ended=(42, 55)))
    seen = look(cluster)
    assert [(end.reason, end.asked) for end in seen.ends] == [(None, True), (None, True)]
    assert (seen.terminating_since, seen.killed) == (T0 + 50, True)
    decision = reconcile(seen, T0 + 100)
    assert isinstance(decision, RecordEnd)
    assert (decision.verdict.failure_class, decision.verdict.exit_code) == (FailureClass.REQUESTED, 42)


def test_the_cause_survives_the_operator() -> None:
    told = job_set(stopping=stopping(50, reason="Resized", next_hosts=1), suspend=True)
    cause = look(Cluster(job(), told, pod(0), pod(1))).cause
    assert cause is not None
    assert (cause.failure_class, cause.reason, cause.next_hosts) == (FailureClass.REQUESTED, "Resized", 1)


def test_the_cause_outlives_the_job_set() -> None:
    told = job_set(stopping=stopping(50), queue="q", deleted=50)
    cluster = Cluster(job(status=_status(1)), told, pod(0, deleted=(50, 20), ended=(42, 55)))
    cluster.remove(pod(0, version=9, deleted=(50, 20), ended=(42, 55)), seconds=56)
    cluster.remove(told | {"metadata": told["metadata"] | {"resourceVersion": "12"}}, seconds=57)
    seen = look(cluster)
    assert seen.cause is not None
    assert (seen.cause.reason, seen.ends[0].asked) == ("Stopped", True)


def test_a_tombstone_keeps_the_end_of_a_pod_that_is_gone() -> None:
    cluster = Cluster(*RUNNING)
    cluster.remove(pod(1, version=9, ended=(1, 40)), seconds=42)
    assert [(end.process, end.exit_code) for end in look(cluster).ends] == [(1, 1)]


def test_a_pod_that_vanished_running_was_deleted_by_somebody() -> None:
    cluster = Cluster(*RUNNING)
    cluster.remove(pod(1, version=9, deleted=(40, 0)), seconds=41)
    end = look(cluster).ends[0]
    assert (end.exit_code, end.reason, end.at) == (137, POD_DELETED, T0 + 40)


def test_a_pod_past_its_grace_is_lost_with_its_node_and_not_before() -> None:
    cluster = Cluster(job(), job_set(), pod(0, ended=(44, 70)), pod(1, deleted=(71, 20)))
    assert look(cluster, 95).requeue_at == T0 + 96
    assert [end.process for end in look(cluster, 95).ends] == [0]
    end = look(cluster, 96).ends[1]
    assert (end.exit_code, end.reason, end.asked, end.node) == (137, NODE_LOST, False, "node-1")
    assert judged(cluster, 96).node == "node-1"


def test_a_pod_of_a_lost_node_that_was_collected_later_is_lost_all_the_same() -> None:
    cluster = Cluster(*RUNNING)
    cluster.remove(pod(1, version=9, deleted=(40, 20), disruption="DeletionByTaintManager"), seconds=50)
    assert look(cluster).ends[0].reason == NODE_LOST


def test_a_pod_that_was_forced_out_was_deleted_not_lost() -> None:
    cluster = Cluster(job(), job_set(), pod(0), pod(1, deleted=(40, 0)))
    assert look(cluster, 60).ends[0].reason == POD_DELETED


def test_a_pod_nobody_saw_end_of_a_failed_job_set_was_deleted() -> None:
    cluster = Cluster(job(), job_set(conditions={"Failed": 60}), pod(0, ended=(42, 50)))
    end = look(cluster).ends[1]
    assert (end.process, end.exit_code, end.reason, end.at) == (1, 137, POD_DELETED, T0 + 60)
    assert (judged(cluster).failure_class, judged(cluster).process) == (FailureClass.PLANNED, 1)


def test_of_pods_nobody_saw_end_none_is_named() -> None:
    """Their Job deleted one of them after somebody had deleted the other."""
    verdict = judged(Cluster(job(), job_set(conditions={"Failed": 60})))
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.PLANNED, POD_DELETED, None)
    assert verdict.message == "its pods were deleted, and it is not known which one first"


class TestWhileTheOperatorWasDown:
    """It finds the JobSet failed and pods gone whose deletion nobody saw."""

    lost_1 = TerminationMessage(
        ExitCode.LOST_PEER, "Process 1 is gone: its connection closed.", lost_process=1
    ).to_json()

    @pytest.mark.parametrize("failed_at", [40, 42])
    def test_the_peer_of_a_killed_process_was_deleted_by_its_job(self, failed_at: float) -> None:
        cluster = Cluster(job(), job_set(conditions={"Failed": failed_at}), pod(1, ended=(137, 40)))
        verdict = judged(cluster)
        assert (verdict.failure_class, verdict.reason, verdict.node) == (
            FailureClass.INFRASTRUCTURE,
            "SIGKILL",
            "node-1",
        )

    @pytest.mark.parametrize("saved_at", [40, 42, 46])
    def test_a_deleted_pod_that_was_killed_early_was_deleted_where_its_peers_saved(self, saved_at: float) -> None:
        """They save because this one was asked to terminate. Of a process that is killed they say that they lost it."""
        killed = pod(1, deleted=(40, 20), ended=(137, 45))
        verdict = judged(Cluster(job(), job_set(), pod(0, ended=(42, saved_at)), killed))
        assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.PLANNED, POD_DELETED, 1)

    def test_a_killed_process_that_its_job_deleted_in_the_same_second_was_killed(self) -> None:
        killed = pod(1, deleted=(40, 20), ended=(137, 40))
        verdict = judged(Cluster(job(), job_set(), pod(0, ended=(44, 40), message=self.lost_1), killed))
        assert (verdict.failure_class, verdict.reason, verdict.node) == (
            FailureClass.INFRASTRUCTURE,
            "SIGKILL",
            "node-1",
        )

    def test_a_process_that_its_peer_lost_was_not_deleted_while_it_ran(self) -> None:
        found = job_set(conditions={"Failed": 60})
        verdict = judged(Cluster(job(), found, pod(0, ended=(44, 50), message=self.lost_1)))
        assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.INFRASTRUCTURE, "LostPeer", 1)

    def saved_by(self, process: int | None) -> str:
        return TerminationMessage(ExitCode.SAVED, "SIGTERM arrived.", signalled_process=process).to_json()

    @pytest.mark.parametrize("was_known", [True, False])
    @pytest.mark.parametrize("told_first", [0, 1, None])
    def test_of_two_deleted_pods_one_of_them_unseen_the_one_told_to_leave_is_the_cause(
        self, told_first: int | None, was_known: bool
    ) -> None:
        """Who deletes a pod by force leaves it a second. Its Job then deletes the other one within the same second."""
        left = pod(0, deleted=(40, 15), ended=(42, 40), message=self.saved_by(told_first))
        cluster = Cluster(job(), job_set(conditions={"Failed": 41}), left)
        if was_known:
            cluster.put(pod(1))
            cluster.remove(pod(1, version=9), seconds=41)
        verdict = judged(cluster)
        assert (verdict.failure_class, verdict.reason, verdict.process) == (
            FailureClass.PLANNED,
            POD_DELETED,
            told_first,
        )
        assert verdict.node == {0: "node-0", 1: "node-1" if was_known else None, None: None}[told_first]

    @pytest.mark.parametrize("told_first", [0, 1])
    def test_of_two_pods_deleted_within_a_second_the_one_told_to_leave_is_the_cause(self, told_first: int) -> None:
        said = self.saved_by(told_first)
        left = [pod(host, deleted=(40, 15), ended=(42, 40), message=said) for host in (0, 1)]
        verdict = judged(Cluster(job(), job_set(), *left))
        assert (verdict.reason, verdict.process, verdict.node) == (POD_DELETED, told_first, f"node-{told_first}")

    def test_a_pod_that_its_job_deleted_after_a_container_of_another_got_sigterm_was_not_the_cause(self) -> None:
        said = self.saved_by(1)
        left = (pod(0, deleted=(40, 15), ended=(42, 40), message=said), pod(1, ended=(42, 40), message=said))
        verdict = judged(Cluster(job(), job_set(), *left))
        assert (verdict.reason, verdict.process, verdict.node) == ("Saved", 1, "node-1")

    @pytest.mark.parametrize("left_at", [40, 44])
    def test_a_pod_that_vanished_unseen_was_deleted_if_its_peer_saved_and_left(self, left_at: float) -> None:
        cluster = Cluster(job(), job_set(), pod(0, ended=(42, left_at)), pod(1))
        cluster.remove(pod(1, version=9), seconds=45)
        assert (judged(cluster).failure_class, judged(cluster).reason) == (FailureClass.PLANNED, POD_DELETED)

    def test_a_pod_that_vanished_unseen_after_another_s_error_was_deleted_by_its_job(self) -> None:
        cluster = Cluster(job(), job_set(), pod(0, ended=(1, 40)), pod(1))
        cluster.remove(pod(1, version=9), seconds=45)
        assert (judged(cluster).failure_class, judged(cluster).process) == (FailureClass.USER, 0)

    def test_pods_that_were_not_deleted_before_we_told_them_to_leave_were_asked(self) -> None:
        told = job_set(stopping=stopping(50), suspend=True, conditions={"Suspended": 51})
        assert look(Cluster(job(), told, pod(0, ended=(42, 52)))).ends[1].asked


def test_a_deleted_pod_is_the_cause_although_we_told_the_rest_to_leave_before_it_had_left() -> None:
    told = job_set(stopping=Termination(T0 + 55).to_json(), suspend=True)
    slow = pod(1, deleted=(39, 30), ended=(42, 57))
    verdict = judged(Cluster(job(), told, pod(0, ended=(42, 40)), slow))
    assert (verdict.failure_class, verdict.reason, verdict.process) == (FailureClass.PLANNED, POD_DELETED, 1)


@pytest.mark.parametrize(
    ("queue", "kind", "reason"),
    [(None, FailureClass.REQUESTED, "JobSetSuspended"), ("research", FailureClass.PLANNED, "SuspendedByQueue")],
)
def test_a_job_set_that_another_suspended(queue: str | None, kind: FailureClass, reason: str) -> None:
    """Its queue takes the machines back for somebody else; a person wants the job to leave them."""
    suspended = job_set(suspend=True, queue=queue)
    left = [pod(host, deleted=(40, 20), ended=(42, 41 + host)) for host in (0, 1)]
    seen = look(Cluster(job(), suspended, *left))
    decision = reconcile(seen, T0 + 100)
    assert isinstance(decision, RecordEnd)
    assert (decision.verdict.failure_class, decision.verdict.reason) == (kind, reason)
    told = job_set(suspend=True, queue=queue, stopping=stopping(38))
    assert classify(look(Cluster(job(), told, *left)).ends).failure_class is FailureClass.PLANNED


@pytest.mark.parametrize(
    ("queue", "kind", "reason"),
    [(None, FailureClass.REQUESTED, "JobSetSuspended"), ("research", FailureClass.PLANNED, "SuspendedByQueue")],
)
def test_a_job_set_that_another_suspended_while_the_operator_was_down(
    queue: str | None, kind: FailureClass, reason: str
) -> None:
    """Its pods are gone, and none will come. One that has not trained yet may be waiting for its queue."""
    suspended = job_set(suspend=True, queue=queue, conditions={"Suspended": 51})
    trained = look(Cluster(job(status=_status(1, firstStep=0)), suspended))
    decision = reconcile(trained, T0 + 100)
    assert isinstance(decision, RecordEnd)
    assert (decision.verdict.failure_class, decision.verdict.reason) == (kind, reason)
    assert {end.at for end in trained.ends} == {T0 + 51}
    assert look(Cluster(job(status=_status(1)), suspended)).ends == ()


def test_a_pod_nobody_saw_end_of_a_completed_job_set_was_done() -> None:
    seen = look(Cluster(job(), job_set(conditions={"Completed": 60})))
    assert [(end.exit_code, end.at) for end in seen.ends] == [(0, T0 + 60), (0, T0 + 60)]


def test_processes_without_pod_have_left_once_the_job_set_says_it_is_suspended() -> None:
    told = job_set(stopping=stopping(50), suspend=True, conditions={"Suspended": 51})
    assert [end.asked for end in look(Cluster(job(), told), 51).ends] == [True, True]


def test_processes_without_pod_may_still_come_right_after_the_order() -> None:
    seen = look(Cluster(job(), job_set(stopping=stopping(50), suspend=True)), 51)
    assert (seen.ends, seen.requeue_at) == ((), T0 + 60)
    assert len(look(Cluster(job(), job_set(stopping=stopping(50), suspend=True)), 60).ends) == 2


def test_of_two_pods_of_a_process_the_first_that_ended_counts() -> None:
    evicted = pod(0, uid="first", created=11, deleted=(30, 20), ended=(42, 35))
    seen = look(Cluster(job(), job_set(), evicted, pod(0, uid="second", created=60), pod(1)))
    assert seen.processes[0].end is not None


def test_an_attempt_whose_job_set_was_deleted_has_the_processes_that_were_seen() -> None:
    cluster = Cluster(job(status=_status(1)), job_set(), pod(0, deleted=(40, 20)))
    cluster.remove(job_set(version=9), seconds=41)
    assert [(p.number, p.end) for p in look(cluster, 50).processes] == [(0, None)]
    cluster.remove(pod(0, version=12, deleted=(40, 20), ended=(42, 45)), seconds=46)
    assert [end.reason for end in look(cluster, 50).ends] == [POD_DELETED]


def test_an_attempt_of_which_nothing_is_left_disappeared() -> None:
    decision = reconcile(look(Cluster(job(status=_status(1)))), T0 + 100)
    assert isinstance(decision, RecordEnd)
    assert decision.verdict.failure_class is FailureClass.PLANNED


def test_objects_of_a_former_job_of_the_name_are_no_attempts() -> None:
    assert look(Cluster(job(uid="another"), job_set(owner=UID))).attempts == ()


def test_pods_of_a_former_job_of_the_name_are_no_processes() -> None:
    seen = look(Cluster(job(), job_set(), pod(0, created=-50, uid="old", ended=(1, -40))))
    assert seen.ends == ()


def test_a_wiped_status_is_read_from_the_config_map() -> None:
    kept = _status(1, failure_class="Planned") | {"budgets": {"preemptions": 7}}
    seen = look(Cluster(job(status={}), config_map(2, ledger=kept), job_set(2)))
    assert [(a.number, a.verdict and a.verdict.failure_class) for a in seen.attempts] == [
        (1, FailureClass.PLANNED),
        (2, None),
    ]
    assert seen.forgotten[FailureClass.PLANNED] == 6


def test_a_status_that_is_none_is_read_from_the_config_map() -> None:
    broken = {"attempts": "none of your business"}
    seen = look(Cluster(job(status=broken), config_map(2, ledger=_status(1, failure_class="User")), job_set(2)))
    assert [a.number for a in seen.attempts] == [1, 2]


def test_an_attempt_of_a_changed_job_that_nobody_wrote_down_has_spent_nothing() -> None:
    stored = _status(1, failure_class="Planned") | {"budgets": {"preemptions": 26}}
    assert look(Cluster(job(status=stored), job_set(2))).forgotten[FailureClass.PLANNED] == 25
    stored["attempts"][0]["specDigest"] = "d0"
    assert look(Cluster(job(status=stored), job_set(2))).forgotten == {}


@pytest.mark.parametrize(("before", "spent"), [("d1", 27), ("d0", 1)])
def test_budgets_of_a_changed_job_start_at_zero_through_status_and_back(before: str, spent: int) -> None:
    """26 preemptions before; the ledger knows one of them."""
    stored = _status(26, failure_class="Planned") | {"budgets": {"preemptions": 26}}
    stored["attempts"][0]["specDigest"] = before
    preempted = Verdict(FailureClass.PLANNED, ExitCode.SAVED, "preempted", reason="PreemptionByScheduler")
    for decision in (Start(27, 2), RecordEnd(preempted), Start(28, 2)):
        seen = look(Cluster(job(status=stored)))
        stored = written(build_status(seen, decision, None, plan=None, generation=2, now=T0 + 100))
    assert stored["budgets"]["preemptions"] == spent


def test_an_attempt_that_another_followed_has_ended() -> None:
    seen = look(Cluster(job(status=_status(1)), job_set(2)))
    first = seen.attempts[0]
    assert first.verdict is not None
    assert (first.verdict.reason, first.ended_at) == ("NotRecorded", T0 + 10)


def test_a_job_set_older_than_the_ledger_is_no_news() -> None:
    assert [a.number for a in look(Cluster(job(status=_status(21)), job_set(1))).attempts] == [21]


def test_the_checkpoint_goes_from_attempt_to_attempt() -> None:
    first = _status(1, failure_class="Planned")
    first["attempts"][0] |= {"checkpointStep": 40, "checkpoint": "gs://r/step-00000040"}
    attempt = look(Cluster(job(status=first), job_set(2))).attempt
    assert attempt is not None
    assert (attempt.checkpoint_step, attempt.checkpoint) == (40, "gs://r/step-00000040")


def test_what_process_0_says_belongs_to_its_attempt() -> None:
    progress = Progress(phase=Phase.TRAINING, since=T0 + 30, step=7, of=10, last_checkpoint_step=4)
    said = ProgressHistory(1, silent_since=None, progress=progress, moved_at=T0 + 30)
    seen = look(Cluster(*RUNNING), history=said)
    assert seen.attempt is not None
    assert (seen.progress, seen.moved_at, seen.attempt.step, seen.attempt.first_step) == (progress, T0 + 30, 7, 4)
    assert look(Cluster(*RUNNING), history=replace(said, attempt=2)).progress is None


def test_silence_counts_only_while_process_0_runs() -> None:
    said = ProgressHistory(1, silent_since=T0 + 20)
    assert look(Cluster(*RUNNING), history=said).silent_since == T0 + 20
    assert look(Cluster(job(), job_set(), pod(0, placed=False)), history=said).silent_since is None


def test_capacity_probes_that_have_a_machine_are_counted() -> None:
    seen = look(Cluster(*RUNNING, capacity_probe(0), capacity_probe(1, placed=False)))
    assert seen.probes_placed == 1


def test_a_suspended_job_is_a_request_to_stop() -> None:
    assert look(Cluster(job(suspend=True))).stop_requests == 1


def test_an_annotation_that_somebody_wrote_over_is_no_cause() -> None:
    seen = look(Cluster(job(), job_set(stopping="{", suspend=True), pod(0)))
    assert (seen.terminating_since, seen.cause) == (T0 + 10, None)


def _status(number: int, failure_class: str | None = None, **more: Any) -> dict[str, Any]:
    entry = {"number": number, "hosts": 2, "started": "2030-03-17T17:46:45Z", "specDigest": "d1", "wantedHosts": 2}
    entry |= more
    if failure_class is not None:
        entry |= {
            "failureClass": failure_class,
            "ended": "2030-03-17T17:47:00Z",
            "message": "m",
            "exitCode": 143,
            "reason": "r",
        }
    return json.loads(json.dumps({"attempts": [entry], "attemptCount": number}))


def test_a_process_whose_pod_is_being_deleted_need_not_answer() -> None:
    silent = ProgressHistory(1, silent_since=T0 + 40, moved_at=T0 + 30)
    assert look(Cluster(*RUNNING), history=silent).silent_since == T0 + 40
    evicted = Cluster(job(), job_set(), pod(0, deleted=(39, 120)), pod(1))
    assert look(evicted, history=silent).silent_since is None


def test_which_process_is_slow_is_what_the_polls_of_this_attempt_say() -> None:
    slow = SlowProcess(1, since=T0 + 40)
    assert look(Cluster(*RUNNING), history=ProgressHistory(1, silent_since=None, slow=slow)).slow == slow
    assert look(Cluster(*RUNNING), history=ProgressHistory(0, silent_since=None, slow=slow)).slow is None
