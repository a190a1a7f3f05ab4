"""Budgets, back-off, and what follows an attempt."""

import pytest
from lateen_api.spec import RecoverySpec
from lateen_operator.attempts import Attempt, Fail, Finish, Start, Wait, backoff_seconds, next_action, spent
from lateen_operator.process_exit import FailureClass, ProcessExit
from lateen_operator.verdict import classify

ENDED = 1000.0


def attempt(number: int, code: int, *, step: int | None = None, first_step: int | None = 0) -> Attempt:
    """An attempt that ended at time ENDED with this exit code, having trained up to `step`."""
    verdict = classify([ProcessExit(0, code, at=ENDED)])
    return Attempt(
        number=number,
        hosts=1,
        started_at=ENDED - 10,
        ended_at=ENDED,
        verdict=verdict,
        first_step=first_step,
        step=number * 10 if step is None else step,
    )


def after(*codes: int, recovery: RecoverySpec, step: int | None = None):
    """What follows attempts with these exit codes; each got 10 steps further unless `step` says where all ended."""
    ledger = [attempt(number, code, step=step) for number, code in enumerate(codes, start=1)]
    return next_action(ledger, recovery, now=ENDED + 3600)


def test_the_first_attempt_starts_at_once():
    assert next_action([], RecoverySpec(), now=0.0) == Start(1)


def test_numbers_go_on_where_an_earlier_supervisor_left_them():
    assert next_action([], RecoverySpec(), now=0.0, first=7) == Start(7)


def test_done_finishes():
    assert after(0, recovery=RecoverySpec()) == Finish()


@pytest.mark.parametrize("code", [40, 43, 46, 127])
def test_what_would_end_the_same_way_is_not_tried_again(code):
    action = after(code, recovery=RecoverySpec(max_failures=100))
    assert isinstance(action, Fail)
    assert (action.verdict.exit_code, action.why) == (code, "another attempt would end the same way")


@pytest.mark.parametrize(
    ("code", "field", "spec_field"),
    [
        (1, "max_failures", "maxFailures"),
        (41, "max_failures", "maxFailures"),
        (42, "max_preemptions", "maxPreemptions"),
        (-15, "max_preemptions", "maxPreemptions"),
        (-9, "max_infrastructure_failures", "maxInfrastructureFailures"),
        (44, "max_infrastructure_failures", "maxInfrastructureFailures"),
    ],
)
def test_each_kind_has_its_budget(code, field, spec_field):
    recovery = RecoverySpec.model_validate({field: 2})
    assert after(code, code, recovery=recovery) == Start(3)
    action = after(code, code, code, recovery=recovery)
    assert isinstance(action, Fail)
    assert action.why == f"spec.recovery.{spec_field} allows 2 restarts"


def test_a_budget_of_none_allows_no_restart():
    action = after(1, recovery=RecoverySpec(max_failures=0))
    assert isinstance(action, Fail)
    assert action.why == "spec.recovery.maxFailures allows no restart"


def test_preemptions_do_not_use_up_the_budget_of_failures():
    assert after(*[42] * 40, 1, recovery=RecoverySpec(max_failures=1)) == Start(42)


def test_the_first_crash_is_the_machines_and_its_repetition_at_the_same_step_the_programs():
    ledger = [attempt(1, -6, step=5), attempt(2, -6, step=5), attempt(3, -6, step=5)]
    assert (spent(ledger, FailureClass.INFRASTRUCTURE), spent(ledger, FailureClass.USER)) == (1, 2)


def test_crashes_at_other_steps_are_the_machines():
    ledger = [attempt(1, -11, step=5), attempt(2, -11, step=9)]
    assert (spent(ledger, FailureClass.INFRASTRUCTURE), spent(ledger, FailureClass.USER)) == (2, 0)


def test_being_killed_twice_at_the_same_step_proves_nothing_against_the_program():
    ledger = [attempt(1, -9, step=5), attempt(2, -9, step=5)]
    assert (spent(ledger, FailureClass.INFRASTRUCTURE), spent(ledger, FailureClass.USER)) == (2, 0)


def test_an_attempt_that_got_further_is_followed_at_once():
    assert next_action([attempt(1, -9)], RecoverySpec(), now=ENDED) == Start(2)


def test_an_attempt_that_got_nowhere_is_followed_after_a_second():
    ledger = [attempt(1, -9, step=0)]
    assert next_action(ledger, RecoverySpec(), now=ENDED + 0.5) == Wait(ENDED + 1)
    assert next_action(ledger, RecoverySpec(), now=ENDED + 1) == Start(2)


def test_back_off_doubles_up_to_a_minute():
    waits = [backoff_seconds([attempt(n, -9, step=0) for n in range(1, count + 1)]) for count in range(1, 10)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_back_off_of_a_thousand_attempts_is_a_minute():
    assert backoff_seconds([attempt(n, -15, step=0) for n in range(1, 1001)]) == 60


def test_back_off_starts_anew_once_the_job_got_further():
    assert backoff_seconds([attempt(1, -9, step=0), attempt(2, -9, step=0), attempt(3, -9, step=7)]) == 0


def test_training_the_same_steps_again_is_no_progress():
    assert backoff_seconds([attempt(1, -9, step=7), attempt(2, -9, step=7)]) == 1


def test_steps_trained_before_this_supervisor_are_no_progress():
    assert backoff_seconds([attempt(9, -9, step=100, first_step=100)]) == 1


def test_steps_lost_are_those_after_the_checkpoint():
    assert Attempt(1, 1, 0.0, step=120, checkpoint_step=100).steps_lost == 20
    assert Attempt(1, 1, 0.0, step=7).steps_lost == 7
    assert Attempt(1, 1, 0.0, checkpoint_step=100).steps_lost == 0


def test_a_running_attempt_has_no_next_action():
    with pytest.raises(ValueError, match="attempt 1 has not ended"):
        next_action([Attempt(1, 1, 0.0)], RecoverySpec(), now=0.0)
