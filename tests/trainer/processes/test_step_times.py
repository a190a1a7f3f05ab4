"""Means over the last steps, and the process that the others wait for."""

from lateen_api.progress import SlowestProcess
from lateen_trainer.processes.step_times import WINDOW, RecentSteps, StepTimes, slowest

QUICK, SLOW = StepTimes(step=1.0, idle=0.0, data_wait=0.0), StepTimes(step=1.0, idle=0.6, data_wait=0.7)


def test_the_mean_is_of_the_last_steps():
    steps = RecentSteps()
    assert steps.mean() is None
    steps.add(StepTimes(100.0, 100.0, 100.0))
    for number in range(WINDOW):
        steps.add(StepTimes(step=number % 2 * 2.0, idle=1.0, data_wait=0.25))
    assert steps.mean() == StepTimes(step=1.0, idle=1.0, data_wait=0.25)


def test_a_process_alone_has_nobody_to_wait_for_it():
    assert slowest({}) is None
    assert slowest({0: SLOW}) is None


def test_of_two_the_slow_one_is_compared_with_the_other():
    found = slowest({0: QUICK, 1: SLOW})
    # It read on while its devices computed: that part of the wait cost nothing.
    assert found == SlowestProcess(
        process=1, idle_seconds=0.6, data_wait_seconds=0.6, others_idle_seconds=0.0, step_seconds=1.0
    )


def test_of_processes_that_are_alike_the_first_is_named():
    found = slowest({2: SLOW, 1: SLOW, 3: QUICK})
    assert found is not None
    assert (found.process, found.others_idle_seconds) == (1, 0.3)
