"""The life of a job on this machine, decision by decision."""

import math
from dataclasses import replace

import pytest
from lateen_api.spec import RecoverySpec
from lateen_operator.attempts import Attempt, Finish, GiveUp, Start, Wait
from lateen_operator.local.decide import Close, Kill, Observation, Patience, Stop, Tell, decide
from lateen_operator.verdict import End, Kind, classify

RECOVERY = RecoverySpec(grace_seconds=15, hang_after="10m", start_deadline="30m")
RUNNING = Attempt(1, 2, started_at=0.0)
TWO = Observation((RUNNING,), running=frozenset({0, 1}), answered=True)
QUIET = Wait(math.inf)


def closed(code: int, *, step: int = 10) -> Attempt:
    verdict = classify([End(0, code, at=100.0)])
    return replace(RUNNING, ended_at=100.0, verdict=verdict, first_step=0, step=step)


def at(now: float, seen: Observation):
    return decide(seen, RECOVERY, now, patience=Patience())


def test_a_job_without_attempts_is_started():
    assert at(0.0, Observation(())) == Start(1)


def test_processes_that_run_and_answer_are_left_alone():
    assert at(1e6, TWO) == QUIET


def test_an_attempt_all_of_whose_processes_ended_is_closed_with_its_verdict():
    seen = Observation((RUNNING,), ends=(End(1, -9, at=1.0), End(0, 44, at=2.0)))
    decision = at(3.0, seen)
    assert isinstance(decision, Close)
    assert decision.verdict.message == "process 1 was killed by SIGKILL"


def test_a_complete_attempt_finishes_the_job():
    assert at(200.0, Observation((closed(0),))) == Finish()


def test_a_killed_attempt_is_followed_by_another():
    assert at(100.0, Observation((closed(-9),))) == Start(2)


def test_a_user_error_ends_the_job():
    decision = at(200.0, Observation((closed(40),)))
    assert isinstance(decision, GiveUp)
    assert decision.verdict.exit_code == 40


class TestPeersOfADeadProcess:
    seen = replace(TWO, running=frozenset({0}), ends=(End(1, -9, at=50.0),))

    def test_are_given_five_seconds_to_leave_by_themselves(self):
        assert at(54.9, self.seen) == Wait(55.0)

    def test_are_told_to_leave_then(self):
        assert at(55.0, self.seen) == Tell()

    def test_are_killed_five_seconds_later(self):
        told = replace(self.seen, told_at=55.0)
        assert at(59.9, told) == Wait(60.0)
        assert at(60.0, told) == Kill()

    def test_are_waited_for_once_killed(self):
        assert at(99.0, replace(self.seen, told_at=55.0, killed=True)) == QUIET


def test_peers_of_a_process_that_somebody_else_stopped_have_the_grace_time():
    seen = replace(TWO, running=frozenset({0}), ends=(End(1, 42, at=50.0),))
    assert at(51.0, seen) == Wait(65.0)
    assert at(65.0, seen) == Tell()


def test_stragglers_behind_a_complete_process_0_have_a_minute():
    seen = replace(TWO, running=frozenset({1}), ends=(End(0, 0, at=50.0),))
    assert at(51.0, seen) == Wait(110.0)
    assert at(110.0, seen) == Tell()


def test_process_0_may_go_on_as_long_as_it_likes_after_its_peers_are_done():
    seen = replace(TWO, running=frozenset({0}), ends=(End(1, 0, at=50.0),))
    assert at(1e6, seen) == QUIET


class TestStopping:
    asked = replace(TWO, stop_requests=1)

    def test_tells_all_processes(self):
        assert at(50.0, self.asked) == Tell()

    def test_waits_for_the_grace_time_and_a_margin(self):
        told = replace(self.asked, told_at=50.0)
        assert at(69.9, told) == Wait(70.0)
        assert at(70.0, told) == Kill()

    def test_twice_kills(self):
        assert at(50.1, replace(self.asked, stop_requests=2, told_at=50.0)) == Kill()

    @pytest.mark.parametrize("code", [42, 47, -15, -9, 44])
    def test_ends_the_job_when_the_attempt_ended(self, code):
        assert at(100.0, Observation((closed(code),), stop_requests=1)) == Stop()

    def test_between_two_attempts_ends_the_job(self):
        assert at(100.0, Observation((closed(-9, step=0),), stop_requests=1)) == Stop()

    def test_before_the_first_attempt_ends_the_job(self):
        assert at(0.0, Observation((), stop_requests=1)) == Stop()

    def test_a_job_that_became_complete_meanwhile_is_complete(self):
        assert at(100.0, Observation((closed(0),), stop_requests=1)) == Finish()

    def test_a_job_that_failed_by_itself_meanwhile_has_failed(self):
        assert isinstance(at(100.0, Observation((closed(40),), stop_requests=1)), GiveUp)


class TestSilence:
    def test_shorter_than_hang_after_is_waited_out(self):
        assert at(100.0 + 599, replace(TWO, silent_since=100.0)) == Wait(700.0)

    def test_of_hang_after_is_a_hang(self):
        decision = at(700.0, replace(TWO, silent_since=100.0))
        assert isinstance(decision, Kill)
        assert decision.cause is not None
        assert (decision.cause.kind, decision.cause.exit_code) == (Kind.INFRASTRUCTURE, 45)
        assert decision.cause.message == "process 0 gave no answer for 10m (spec.recovery.hangAfter)"

    def test_before_the_first_answer_may_last_the_start_deadline(self):
        starting = replace(TWO, answered=False, silent_since=0.0)
        assert at(1799.0, starting) == Wait(1800.0)
        assert isinstance(at(1800.0, starting), Kill)

    def test_gives_the_verdict_whatever_the_killed_processes_end_with(self):
        kill = at(700.0, replace(TWO, silent_since=100.0))
        assert isinstance(kill, Kill)
        assert kill.cause is not None
        dead = (End(0, -9, at=700.1, asked=True), End(1, 44, at=700.2))
        assert at(701.0, Observation((RUNNING,), ends=dead, cause=kill.cause)) == Close(kill.cause)
