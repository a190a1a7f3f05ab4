"""`lateen logs`: which pod is read, what is waited for, what is said when there is nothing."""

import io
from typing import Any

import pytest
from lateen_operator.commands.errors import CommandError
from lateen_operator.commands.logs import Logs, print_logs, process_of

RUNNING = {"running": {}}


def pod(name: str, *, process: int = 0, slice_index: int = 0, hosts: int = 2, state: Any = RUNNING) -> dict[str, Any]:
    statuses = [{"name": "trainer", "state": state}] if state else []
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    return {
        "metadata": {
            "name": name,
            "labels": {
                "jobset.sigs.k8s.io/job-index": str(slice_index),
                "batch.kubernetes.io/job-completion-index": str(process),
            },
        },
        "spec": {"containers": [{"name": "trainer", "env": [{"name": "LATEEN_HOSTS_PER_SLICE", "value": str(hosts)}]}]},
        "status": {"containerStatuses": statuses, "conditions": [] if state else [unplaced]},
    }


def printed(cluster, **wanted: Any) -> tuple[str, list[str]]:
    """(the log, what is said beside it)"""
    out, said = io.BytesIO(), []
    print_logs(cluster, "nano", Logs(**wanted), out, said.append, sleep=lambda seconds: None)
    return out.getvalue().decode(), said


def refusal(cluster, *, exit_code: int | None = None, **wanted: Any) -> str:
    with pytest.raises(CommandError) as caught:
        printed(cluster, **wanted)
    assert exit_code in (None, caught.value.exit_code)
    return str(caught.value)


def test_processes_are_numbered_slice_first():
    assert process_of(pod("x", slice_index=2, process=1, hosts=4)) == 9


def test_process_0_of_the_newest_attempt(script, job):
    cluster = script(job(attemptCount=2), pods={2: [[pod("b", process=1), pod("a")]], 1: [[pod("old")]]})
    assert printed(cluster) == ("log of a\n", [])
    assert cluster.read == [("a", False, None)]


def test_another_process_attempt_and_length(script, job):
    pods = {1: [[pod("old-0"), pod("old-1", process=1)]]}
    cluster = script(job(attemptCount=2), pods=pods)
    assert printed(cluster, process=1, attempt=1, tail=5)[0] == "log of old-1\n"
    assert cluster.read == [("old-1", False, 5)]
    assert printed(cluster, previous=True)[0] == "log of old-0\n"


def test_log_is_followed_into_the_next_attempt(script, job):
    cluster = script(
        job(attemptCount=1),
        job(attemptCount=1),
        job(attemptCount=2),
        job("Complete", attemptCount=2, state="Complete"),
        pods={1: [[pod("a1")]], 2: [[pod("a2")]]},
    )
    assert printed(cluster, follow=True) == (
        "log of a1\nlog of a2\n",
        ["Attempt 1, process 0 (pod a1)", "Attempt 2, process 0 (pod a2)", "nano is Complete."],
    )


def test_attempt_that_is_asked_for_is_not_left(script, job):
    cluster = script(job(attemptCount=1), pods={1: [[pod("a1")]]})
    assert printed(cluster, follow=True, attempt=1)[0] == "log of a1\n"


def test_followed_log_is_waited_for(script, job):
    pulling = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    cluster = script(
        job(attemptCount=1),
        pods={1: [[], [pod("a", state=None)], [pod("a", state=pulling)], [pod("a", state=pulling)], [pod("a")]]},
    )
    said = printed(cluster, follow=True, attempt=1)[1]
    assert said == [
        "Process 0 of attempt 1 waits: its pod does not exist",
        "Process 0 of attempt 1 waits: no node yet: 0/2 nodes",
        "Process 0 of attempt 1 waits: ErrImagePull: no such image",
        "Attempt 1, process 0 (pod a)",
    ]


def test_log_that_does_not_exist_yet(script, job):
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    cluster = script(job(attemptCount=1), pods={1: [[pod("a", state=waiting)]]})
    assert refusal(cluster) == "Process 0 of attempt 1 has no log yet: ContainerCreating. Follow it with -f."


def test_process_that_does_not_exist(script, job):
    cluster = script(job(attemptCount=1), pods={1: [[pod("a"), pod("b", process=1)]]})
    assert refusal(cluster, exit_code=40, process=2) == "Attempt 1 has no process 2: expected 0 to 1."
    assert refusal(cluster, process=2, follow=True) == "Attempt 1 has no process 2: expected 0 to 1."


def test_pods_of_an_earlier_attempt_are_gone(script, job):
    assert refusal(script(job(attemptCount=2)), previous=True) == (
        "The pods of attempt 1 are gone, and their logs with them. Pods of earlier attempts are deleted when a new one "
        "has begun; `lateen status` keeps why they ended."
    )


def test_pods_of_a_stopped_job_are_gone(script, job):
    cluster = script(job("Suspended", attemptCount=1, state="Suspended"))
    assert refusal(cluster, follow=True) == (
        "The pods of attempt 1 are gone, and their logs with them. The job is Suspended."
    )


@pytest.mark.parametrize(
    ("count", "wanted", "message"),
    [
        (2, {"attempt": 3}, "nano has not had an attempt 3: expected 1 to 2."),
        (1, {"previous": True}, "nano has not had an attempt before the newest: there is only one."),
    ],
)
def test_attempt_that_was_never_made(script, job, count: int, wanted: dict[str, Any], message: str):
    assert refusal(script(job(attemptCount=count)), **wanted) == message


def test_job_without_attempts(script, job):
    assert refusal(script(job())) == "nano has had no attempt yet, so there is no log."
