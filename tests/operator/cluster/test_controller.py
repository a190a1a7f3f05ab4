"""Rounds of the controller on a cluster whose objects are plain dictionaries."""

from typing import Any

import pytest
from controller_world import SPEC, World
from lateen_api.progress import Phase, Progress, SlowestProcess
from lateen_api.status import ConditionType
from lateen_operator.attempt_codec import timestamp
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, PODS
from lateen_operator.progress_history import ProgressHistory
from lateen_operator.resolve import resolve
from watched_objects import KEY, T0, at, config_map, job, job_set, pod

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


def test_a_process_that_is_slow_in_all_polls_of_five_minutes_is_in_the_status_and_posted_once() -> None:
    world = second_attempt_trains()
    slowest = SlowestProcess(
        process=1, idle_seconds=2.0, data_wait_seconds=1.9, others_idle_seconds=0.0, step_seconds=2.5
    )
    history, straggling = ProgressHistory(2, silent_since=None), []
    for poll in range(80):
        since, seconds = T0 + 100 + 5 * poll, 5 * poll
        progress = Progress(phase=Phase.TRAINING, since=since, step=24 + poll, of=560, slowest_process=slowest)
        world.poller.said = history = history.after(progress, since)
        world.now = since
        world.look()
        if any(one.type is ConditionType.STRAGGLING and one.status == "True" for one in world.status.conditions):
            straggling.append(seconds)
    assert (straggling[0], straggling[-1]) == (300, 395)
    [posted] = [event for event in world.poster.posted if event.reason == "SlowData"]
    assert posted.message.startswith("All processes wait for process 1 on ")


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


def test_a_start_is_written_once_and_told_once() -> None:
    world = World((JOBS, job(**SPEC)))
    world.now += 0.25
    world.look()
    assert [call for call in world.client.calls if "lmtrainingjobs" in call] == ["patch lmtrainingjobs nano"]
    assert world.client.calls.index("create jobsets nano-a1") < world.client.calls.index("patch lmtrainingjobs nano")
    # To the millisecond, which the JobSet's own time does not have.
    assert [entry.started for entry in world.status.attempts] == [timestamp(T0 + 100.25)]
    world.look()
    assert [event.reason for event in world.poster.posted] == ["AttemptStarted"]


def test_a_start_that_is_not_written_yet_is_told_when_it_is() -> None:
    world = World((JOBS, job(**SPEC)))
    for number in range(41):
        world.controller.queue.put(Key("team", f"other-{number}"))
    assert world.look() == pytest.approx(2.0)
    assert "patch lmtrainingjobs nano" not in world.client.calls
    world.now += 2.0
    world.look()
    assert [entry.number for entry in world.status.attempts] == [1]
    assert [event.reason for event in world.poster.posted] == ["AttemptStarted"]


def test_a_start_that_nobody_wrote_is_written_by_the_next_operator() -> None:
    world = World((JOBS, job(**SPEC)))
    for number in range(41):
        world.controller.queue.put(Key("team", f"other-{number}"))
    world.look()
    world.start_operator()
    world.look()
    assert [(entry.number, entry.ended) for entry in world.status.attempts] == [(1, None)]
    assert world.client.calls.count("create jobsets nano-a1") == 1
