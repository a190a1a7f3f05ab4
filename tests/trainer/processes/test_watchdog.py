"""When a loop counts as standing still."""

import pytest
from lateen_api.progress import Phase
from lateen_trainer.processes.watchdog import Watchdog


def test_a_step_may_take_as_long_as_hang_after():
    watchdog = Watchdog(600.0, now=0.0)
    watchdog.beat(Phase.TRAINING, 5, 100.0)
    assert watchdog.overdue(700.0) is None
    assert watchdog.overdue(701.0) == (
        "The step after step 5 hung: nothing has moved for 601 s (recovery.hangAfter is 600 s)."
    )


def test_the_same_step_again_is_no_sign_of_life():
    watchdog = Watchdog(600.0, now=0.0)
    watchdog.beat(Phase.TRAINING, 5, 100.0)
    watchdog.beat(Phase.TRAINING, 5, 650.0)
    assert watchdog.overdue(701.0) is not None


def test_the_next_step_is():
    watchdog = Watchdog(600.0, now=0.0)
    watchdog.beat(Phase.TRAINING, 5, 100.0)
    watchdog.beat(Phase.TRAINING, 6, 650.0)
    assert watchdog.overdue(1250.0) is None


@pytest.mark.parametrize(
    "phase",
    [Phase.STARTING, Phase.TOKENIZING, Phase.RESTORING, Phase.COMPILING, Phase.EVALUATING, Phase.SAVING],
)
def test_other_phases_have_an_hour_and_every_beat_counts(phase: Phase):
    watchdog = Watchdog(600.0, now=0.0)
    watchdog.beat(phase, 5, 0.0)
    watchdog.beat(phase, 5, 3000.0)
    assert watchdog.overdue(6600.0) is None
    assert watchdog.overdue(6601.0) == (f"{phase} at step 5 hung: nothing has moved for 3601 s (the bound is 3600 s).")


def test_a_hang_bound_above_an_hour_holds_for_all_phases():
    watchdog = Watchdog(7200.0, now=0.0)
    watchdog.beat(Phase.SAVING, 5, 0.0)
    assert watchdog.overdue(7000.0) is None


def test_a_process_that_is_done_waits_for_its_peers_without_bound():
    watchdog = Watchdog(600.0, now=0.0)
    watchdog.beat(Phase.DONE, 5, 0.0)
    assert watchdog.overdue(1e9) is None


def test_time_asleep_does_not_count():
    watchdog = Watchdog(600.0, now=0.0)
    watchdog.beat(Phase.TRAINING, 5, 0.0)
    watchdog.forgive(10_000.0)
    assert watchdog.overdue(10_600.0) is None
