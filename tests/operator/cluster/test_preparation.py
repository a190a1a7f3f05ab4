"""The builders of token caches (`spec.data.prepare`): what is known of them, and when there are any."""

from typing import Any

import pytest
from controller_world import SPEC, World
from lateen_api.progress import Phase, Progress
from lateen_api.status import DataStatus
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, PODS
from lateen_operator.process_exit import FailureClass
from lateen_operator.progress_history import ProgressHistory
from lateen_operator.resolve import resolve
from watched_objects import KEY, T0, at, job, job_set, pod

DATA = SPEC["data"] | {"prepare": {"hosts": 2}}
PREPARED = SPEC | {"data": DATA}
DIGEST = str(resolve(job(**PREPARED)).target.builders)
NAME = "nano-data"


def builders(digest: str = DIGEST, **fields: Any) -> dict[str, Any]:
    """Their JobSet."""
    made = job_set(0, **fields)
    made["metadata"] |= {"name": NAME, "annotations": {"lateen.dev/spec-digest": digest}}
    return made


def world(*things: Any, **spec: Any) -> World:
    """A job with `data.prepare`, and with these JobSets and pods."""
    kinds = [(PODS if "containerStatuses" in thing["status"] else JOB_SETS, thing) for thing in things]
    return World((JOBS, job(**(PREPARED | spec))), *kinds)


def says(made: World, *, ready: bool) -> None:
    """Builder 0 answers."""
    progress = Progress(phase=Phase.TOKENIZING, since=T0, detail="train: 12 of 200 files tokenized", data_ready=ready)
    made.poller.said = ProgressHistory(0, silent_since=None, progress=progress, moved_at=T0)


def failed(code: ExitCode, message: str, **fields: Any) -> dict[str, Any]:
    """A builder's pod that ended."""
    return pod(attempt=0, ended=(code, 50), message=TerminationMessage(code, message).to_json(), **fields)


def data_of(made: World) -> DataStatus:
    """status.data."""
    assert made.status.data is not None
    return made.status.data


def test_builders_are_created_and_no_attempt() -> None:
    made = world()
    made.look()
    assert made.client.objects[JOB_SETS.plural, NAME]["metadata"]["labels"]["lateen.dev/attempt"] == "0"
    assert (CONFIG_MAPS.plural, NAME) in made.client.objects
    assert [name for kind, name in made.client.objects if kind == JOB_SETS.plural] == [NAME]
    assert made.status.state == "PreparingData"


def test_a_job_without_prepare_has_none() -> None:
    made = World((JOBS, job(**SPEC)))
    made.look()
    assert [name for kind, name in made.client.objects if kind == JOB_SETS.plural] == ["nano-a1"]
    assert made.status.data is None


def test_how_far_they_are_is_polled_and_told() -> None:
    made = world(builders(), pod(0, attempt=0))
    says(made, ready=False)
    made.look()
    assert [trainer.attempt for trainer in made.poller.watched] == [0]
    assert data_of(made).message == "train: 12 of 200 files tokenized"
    assert [event.reason for event in made.poster.posted] == ["PreparingData"]
    running = next(one for one in made.status.conditions if one.type == "Running")
    assert (running.status, running.reason, running.message) == (
        *("False", "PreparingData"),
        "train: 12 of 200 files tokenized",
    )


def test_pods_that_wait_for_a_machine_say_so() -> None:
    made = world(builders(), pod(0, attempt=0, placed=False))
    made.look()
    assert data_of(made).message == (
        "the pods that tokenize wait: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."
    )


def test_training_starts_when_its_beginning_is_there_and_the_builders_go_on() -> None:
    made = world(builders(), pod(0, attempt=0))
    says(made, ready=True)
    made.look()
    assert {name for kind, name in made.client.objects if kind == JOB_SETS.plural} == {NAME, "nano-a1"}
    assert (data_of(made).ready, data_of(made).whole) == (True, False)
    assert "DataReady" in [event.reason for event in made.poster.posted]


def test_an_operator_that_starts_anew_knows_that_the_beginning_is_there() -> None:
    made = world(builders(), pod(0, attempt=0))
    says(made, ready=True)
    made.look()
    made.start_operator()
    made.look()
    assert data_of(made).ready
    assert made.status.attempt_count == 1


@pytest.mark.parametrize("known_by", [builders(conditions={"Completed": 60}), pod(0, attempt=0, ended=(0, 60))])
def test_caches_are_whole_when_a_builder_is_done(known_by: dict[str, Any]) -> None:
    made = world(*([known_by] if "replicatedJobs" in known_by["spec"] else [builders(), known_by]))
    made.look()
    assert data_of(made).whole
    assert made.status.attempt_count == 1


def test_whole_caches_are_not_built_again_though_their_job_set_was_deleted() -> None:
    made = world(builders(conditions={"Completed": 60}))
    made.look()
    del made.client.objects[JOB_SETS.plural, NAME]
    made.start_operator()
    made.look()
    assert (JOB_SETS.plural, NAME) not in made.client.objects
    assert data_of(made).whole


@pytest.mark.parametrize(
    ("code", "kind"), [(ExitCode.USER_ERROR, FailureClass.USER), (ExitCode.BAD_DATA, FailureClass.DATA)]
)
def test_what_is_wrong_with_the_text_fails_the_job_with_the_builders_words(code: ExitCode, kind: FailureClass) -> None:
    made = world(builders(conditions={"Failed": 60}), failed(code, "a.txt, line 3 is not JSON."))
    made.look()
    assert made.status.state == "Failed"
    condition = next(one for one in made.status.conditions if one.type == "Failed")
    assert condition.reason == "DataPreparationFailed"
    assert "tokenizing by spec.data.prepare failed: " in condition.message.replace("Tokenizing", "tokenizing")
    assert "a.txt, line 3 is not JSON" in condition.message
    assert made.status.attempt_count == 0


def test_builders_that_failed_too_often_fail_the_job_with_the_last_cause() -> None:
    pods = [pod(0, attempt=0, uid=f"pod-{n}", ended=(137, 50 + n), reason="OOMKilled") for n in range(3)]
    made = world(builders(conditions={"Failed": 60}), *pods)
    made.look()
    condition = next(one for one in made.status.conditions if one.type == "Failed")
    assert "(3 failed pods)" in condition.message
    assert "memory" in condition.message


def test_a_changed_job_gets_other_builders() -> None:
    made = world(builders("another", conditions={"Failed": 60}))
    made.look()
    assert f"delete jobsets {NAME}" in made.client.calls
    made.start_operator()
    made.look()
    assert made.client.objects[JOB_SETS.plural, NAME]["metadata"]["annotations"]["lateen.dev/spec-digest"] == DIGEST


@pytest.mark.parametrize("conditions", [{}, {"Failed": 60.0}])
def test_a_suspended_job_has_no_builders(conditions: dict[str, float]) -> None:
    made = world(builders(conditions=conditions), suspend=True)
    made.look()
    assert (JOB_SETS.plural, NAME) not in made.client.objects
    assert made.status.state == "Suspended"


def test_builders_that_are_done_keep_their_logs() -> None:
    made = world(builders(conditions={"Completed": 60}), suspend=True)
    made.look()
    assert (JOB_SETS.plural, NAME) in made.client.objects


def test_the_time_until_training_can_begin_is_spent_on_data() -> None:
    made = world(builders(), pod(0, attempt=0))
    says(made, ready=True)
    made.look()
    assert made.status.time is not None
    # The builders were created 10 s after the job, and it is 100 s old.
    assert (made.status.time.data, made.status.time.waiting_for_machines) == (90, 10)


def test_builders_of_a_changed_job_that_trained_before_take_no_time_from_others() -> None:
    made = world(builders("another", conditions={"Completed": 60}), pod(0, attempt=0))
    attempt = {"number": 1, "hosts": 2, "started": at(5), "ended": at(8), "failureClass": "Requested", "message": "-"}
    made.change(JOBS, KEY.name, {"status": {"attempts": [attempt]}})
    made.look()
    assert made.status.time is not None
    assert made.status.time.data == 0


def test_builders_of_another_job_of_this_name_do_not_count() -> None:
    made = world(builders(owner="another", conditions={"Completed": 60}))
    assert made.controller.store.get(KEY).builders is None
