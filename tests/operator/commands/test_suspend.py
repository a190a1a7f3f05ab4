"""`lateen stop` and `lateen resume`, before an operator that plays along or does not."""

import pytest
from lateen_operator.commands.errors import CommandError
from lateen_operator.commands.suspend import resume, stop

SAVED = {"lastCheckpoint": {"step": 340, "path": "/shared/nano/step-00000340", "time": "2030-01-31T11:59:48Z"}}


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def stopped(cluster, timeout: float | None = 60.0) -> tuple[list[str], float]:
    """What `stop` says, and how long it takes."""
    said: list[str] = []
    clock = Clock()
    stop(cluster, "nano", timeout=timeout, say=said.append, clock=clock, sleep=clock.sleep)
    return said, clock.now


def test_stop_waits_until_the_job_has_stopped(script, job):
    going, gone = job(state="Training"), job("Suspended", suspend=True, state="Suspended", **SAVED)
    cluster = script(going, job(suspend=True, state="Stopping"), gone)
    assert stopped(cluster) == (
        ["nano has stopped at the checkpoint of step 340. `lateen resume nano` goes on."],
        2.0,
    )
    assert cluster.written == [True]


def test_stop_need_not_wait(script, job):
    cluster = script(job(state="Training"))
    assert stopped(cluster, timeout=None) == (
        ["nano was asked to save and stop. `lateen status nano` shows when it has."],
        0.0,
    )
    assert cluster.written == [True]


def test_stop_of_a_stopped_job_changes_nothing(script, job):
    cluster = script(job("Suspended", suspend=True))
    assert stopped(cluster)[0] == ["nano has stopped. `lateen resume nano` goes on."]
    assert cluster.written == []


def test_stop_does_not_wait_for_ever(script, job):
    with pytest.raises(CommandError) as caught:
        stopped(script(job(state="Training", suspend=True)), timeout=3.0)
    assert str(caught.value) == (
        "nano was asked to stop, but has not within 3 s: it is Training. `lateen status nano` shows more; without a "
        "running operator nothing happens."
    )
    assert caught.value.exit_code == 1


def test_job_that_ends_meanwhile(script, job):
    cluster = script(job(state="Training"), job("Complete", suspend=True, state="Complete"))
    assert stopped(cluster)[0] == ["nano ended before it could be stopped: Complete."]


def test_job_that_somebody_else_resumes_meanwhile(script, job):
    with pytest.raises(CommandError, match="nano was resumed by somebody else meanwhile"):
        stopped(script(job(state="Training"), job(suspend=False)))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("Complete", "nano is complete: there is nothing to stop."),
        (
            "Failed",
            "nano has failed: there is nothing to stop. `lateen status nano` says why; it is tried again when its spec "
            "is changed.",
        ),
    ],
)
def test_what_has_ended_cannot_be_stopped(script, job, condition: str, message: str):
    cluster = script(job(condition))
    with pytest.raises(CommandError) as caught:
        stopped(cluster)
    assert (str(caught.value), caught.value.exit_code, cluster.written) == (message, 40, [])


def test_resume_of_a_stopped_job(script, job):
    cluster, said = script(job("Suspended", suspend=True, **SAVED)), []
    resume(cluster, "nano", say=said.append)
    assert cluster.written == [False]
    assert said == [
        "nano goes on at the checkpoint of step 340 as soon as there are machines. `lateen status nano --watch` shows "
        "it."
    ]


def test_resume_of_a_job_that_runs_changes_nothing(script, job):
    cluster, said = script(job(state="Training")), []
    resume(cluster, "nano", say=said.append)
    assert (cluster.written, said) == ([], ["nano is not stopped: it is Training."])
