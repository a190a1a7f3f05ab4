"""The log line about a step: how often, and what it says."""

import pytest
from lateen_trainer.report.step_log import StepLog


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_line_every_quarter_of_a_minute_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    steps = StepLog(2000, lambda: now)
    with caplog.at_level("INFO"):
        for step in range(1989, 2001):
            steps.log({"loss": 2.0 + (step - 1) / 10_000, "tokens_per_second": 12_345.6}, step=step)
            now += 4.0
    assert logged(caplog) == [
        "Step 1,989 of 2,000: loss 2.1988, 12,346 tokens per second",
        "Step 1,993 of 2,000: loss 2.1992, 12,346 tokens per second",
        "Step 1,997 of 2,000: loss 2.1996, 12,346 tokens per second",
        "Step 2,000 of 2,000: loss 2.1999, 12,346 tokens per second",
    ]


def test_the_speed_is_left_out_while_it_is_not_known(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        StepLog(10, lambda: 0.0).log({"loss": 5.5}, step=1)
    assert logged(caplog) == ["Step 1 of 10: loss 5.5000"]


def test_numbers_without_a_training_loss_are_no_step(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        StepLog(10, lambda: 0.0).log({"validation_loss": 5.5}, step=4)
    assert logged(caplog) == []


def test_after_a_rewind_the_next_step_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    steps = StepLog(10, lambda: 0.0)
    with caplog.at_level("INFO"):
        steps.log({"loss": 5.0}, step=6)
        steps.log({"loss": 5.0}, step=7)
        steps.rewind(3)
        steps.log({"loss": 5.0}, step=3)
    assert logged(caplog) == ["Step 6 of 10: loss 5.0000", "Step 3 of 10: loss 5.0000"]
