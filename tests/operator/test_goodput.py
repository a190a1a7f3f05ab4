"""Where the time of a job went: parts that add up to the wall time, whatever happened."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lateen_api.progress import Phase
from lateen_api.status import TimeStatus
from lateen_operator.attempts import Attempt
from lateen_operator.goodput import goodput, sum_of, time_of, total
from lateen_operator.process_exit import STOPPED, SUSPENDED_BY_QUEUE, FailureClass
from lateen_operator.verdict import Verdict

KILLED = Verdict(FailureClass.INFRASTRUCTURE, 137, "process 1 was killed by SIGKILL", reason="SIGKILL")
RESTS = Verdict(FailureClass.REQUESTED, 42, "it was asked to stop", reason=STOPPED)
DONE = Verdict(FailureClass.DONE, 0, "process 0 is done", reason="Done")
PHASES = {Phase.STARTING: 5.0, Phase.RESTORING: 2.0, Phase.COMPILING: 8.0, Phase.TRAINING: 60.0, Phase.SAVING: 5.0}
ATTEMPT = Attempt(
    1,
    2,
    started_at=100.0,
    ended_at=200.0,
    verdict=KILLED,
    first_step=0,
    step=60,
    checkpoint_step=40,
    process_started_at=110.0,
    last_phase=Phase.TRAINING,
    phase_seconds=PHASES,
    data_wait_seconds=6.0,
)


def test_of_an_attempt_that_was_killed():
    assert time_of([ATTEMPT], since=90.0, until=230.0) == TimeStatus(
        waiting_for_machines=10 + 10,
        starting=5,
        restoring=2,
        compiling=8,
        data=6,
        training=54 * 40 / 60,
        lost_steps=54 * 20 / 60,
        saving=5,
        recovering=10 + 30,
    )


def test_what_an_attempt_does_since_it_was_heard_last_is_what_it_did_then():
    runs = replace(ATTEMPT, verdict=None, ended_at=None)
    spent = time_of([runs], since=100.0, until=210.0)
    assert (spent.training, spent.recovering, spent.lost_steps) == (54 + 20, 0, 0)


def test_a_job_that_its_queue_has_suspended_loses_nothing():
    queued = replace(ATTEMPT, verdict=replace(RESTS, reason=SUSPENDED_BY_QUEUE), checkpoint_step=60)
    spent = time_of([queued], since=100.0, until=5000.0)
    assert (spent.waiting_for_machines, spent.queued, spent.recovering) == (10, 4800, 10)
    assert goodput(spent) == goodput(time_of([queued], since=100.0, until=200.0))


def test_until_its_queue_admits_it_an_attempt_is_queued_and_then_waits_for_machines():
    queued = replace(ATTEMPT, queue="research", admitted_at=107.0)
    spent = time_of([queued], since=90.0, until=200.0)
    # 10 s before it was created, then 7 s in the queue and 3 s until its process began.
    assert (spent.waiting_for_machines, spent.queued) == (10 + 3, 7)
    assert goodput(spent) == goodput(time_of([ATTEMPT], since=90.0, until=200.0))


def test_an_attempt_that_is_in_the_queue_has_waited_for_nothing_else():
    waits = Attempt(1, 2, started_at=100.0, queue="research")
    assert time_of([waits], since=100.0, until=160.0) == TimeStatus(queued=60)
    admitted = replace(waits, admitted_at=130.0)
    assert time_of([admitted], since=100.0, until=160.0) == TimeStatus(queued=30, waiting_for_machines=30)


def test_a_job_that_rests_loses_nothing():
    rests = replace(ATTEMPT, verdict=RESTS, checkpoint_step=60)
    spent = time_of([rests], since=100.0, until=5000.0, suspended=True)
    later = replace(ATTEMPT, number=2, started_at=5000.0, ended_at=5100.0, process_started_at=5000.0, verdict=DONE)
    resumed = time_of([rests, later], since=100.0, until=5100.0)
    assert spent.suspended == resumed.suspended == 4800
    assert goodput(spent) == round(54 / 90, 3)


def test_an_attempt_that_never_ran_waited():
    refused = Attempt(1, 2, 100.0, 160.0, replace(KILLED, reason="StartDeadline"))
    assert time_of([refused], since=100.0, until=160.0) == TimeStatus(waiting_for_machines=60)
    assert goodput(time_of([refused], since=100.0, until=160.0)) is None


def test_of_an_earlier_trainer_which_tells_no_phases():
    older = replace(ATTEMPT, phase_seconds=None, process_started_at=None, data_wait_seconds=None)
    spent = time_of([older], since=100.0, until=200.0)
    assert (spent.training, spent.lost_steps) == (pytest.approx(100 * 40 / 60, abs=0.001), pytest.approx(33.333))
    assert total(spent) == pytest.approx(100)


_SECONDS = st.floats(0, 1000)
_ATTEMPTS = st.builds(
    Attempt,
    number=st.just(1),
    hosts=st.just(1),
    started_at=_SECONDS,
    ended_at=st.none() | _SECONDS,
    verdict=st.none() | st.sampled_from([KILLED, RESTS, DONE]),
    first_step=st.none() | st.integers(0, 50),
    step=st.none() | st.integers(0, 100),
    checkpoint_step=st.none() | st.integers(0, 100),
    queue=st.none() | st.just("research"),
    admitted_at=st.none() | _SECONDS,
    process_started_at=st.none() | _SECONDS,
    phase_seconds=st.none() | st.dictionaries(st.sampled_from(Phase), _SECONDS),
    data_wait_seconds=st.none() | _SECONDS,
)


@given(st.lists(_ATTEMPTS, max_size=5), st.booleans())
def test_the_parts_add_up_to_the_wall_time_whatever_the_clocks_say(attempts: list[Attempt], suspended: bool):
    spent = time_of(attempts, since=0.0, until=3000.0, suspended=suspended)
    assert total(spent) == pytest.approx(3000.0, abs=0.01)
    assert total(sum_of([spent, spent])) == pytest.approx(6000.0, abs=0.02)
