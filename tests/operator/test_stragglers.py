"""When a process is slow, since when, and what the status says of it."""

import pytest
from lateen_api.progress import Phase, Progress, SlowestProcess
from lateen_operator.progress_history import ProgressHistory
from lateen_operator.stragglers import SlowProcess, explain, is_slow, slow_process

T0 = 1_000_000.0


def report(process: int = 3, idle: float = 0.8, others: float = 0.01, data: float = 0.7, step: float = 1.0):
    return SlowestProcess(
        process=process, idle_seconds=idle, data_wait_seconds=data, others_idle_seconds=others, step_seconds=step
    )


@pytest.mark.parametrize(
    ("idle", "others", "slow"),
    [
        (0.8, 0.0, True),
        (0.26, 0.0, True),
        (0.24, 0.0, False),  # less than a quarter of the step
        (0.8, 0.3, False),  # all read slowly: less than three times as long as the others
        (0.95, 0.3, True),
        (0.0, 0.0, False),
    ],
)
def test_slow_is_who_makes_the_others_wait(idle: float, others: float, slow: bool):
    assert is_slow(report(idle=idle, others=others)) is slow


def test_it_is_slow_since_the_first_of_the_reports_that_all_name_it():
    first = slow_process(None, report(), T0)
    assert first == SlowProcess(3, T0)
    assert slow_process(first, report(idle=0.9), T0 + 60) == first
    assert slow_process(first, report(process=4), T0 + 60) == SlowProcess(4, T0 + 60)
    assert slow_process(first, report(idle=0.1), T0 + 60) is None
    assert slow_process(first, None, T0 + 60) is None


def test_the_history_of_polls_carries_it_over_one_without_an_answer():
    training = Progress(phase=Phase.TRAINING, since=T0, slowest_process=report())
    history = ProgressHistory(1, silent_since=None).after(training, T0).after(None, T0 + 5).after(training, T0 + 10)
    assert history.slow == SlowProcess(3, T0)


def test_a_report_of_an_older_trainer_names_no_process():
    older = Progress.model_validate_json('{"phase": "Training", "since": 5.0, "step": 3, "of": 10}')
    assert ProgressHistory(1, silent_since=None).after(older, T0).slow is None


def test_the_report_is_read_as_it_is_written():
    written = Progress(phase=Phase.TRAINING, since=T0, slowest_process=report()).model_dump_json(by_alias=True)
    assert '"slowestProcess":{"process":3,"idleSeconds":0.8' in written
    assert Progress.model_validate_json(written).slowest_process == report()


def test_slow_data_is_told_from_a_slow_host():
    assert explain(report(step=1.25), "node-7") == (
        "SlowData",
        "All processes wait for process 3 on node-7: its devices have nothing to do for up to 0.8 s of each step of "
        "1.25 s, 0.7 s of them for its data, those of the other processes for 0.01 s (median). Its disk or its network "
        "is slow: put spec.data.cacheDir on a faster volume, or move the pod to another node "
        "(docs/runbooks/LateenStraggler.md).",
    )
    assert explain(report(data=0.1), None) == (
        "SlowHost",
        "All processes wait for process 3: its devices have nothing to do for up to 0.8 s of each step of 1 s, those "
        "of the other processes for 0.01 s (median). Its CPU is slow or busy: raise spec.compute.cpu, or move the pod "
        "to another node (docs/runbooks/LateenStraggler.md).",
    )
