"""Which lines the plain display writes, and when."""

from lateen_api.progress import Phase, Progress
from lateen_operator.local.plain import PlainDisplay
from lateen_operator.local.view import View


def view(elapsed: float, phase: Phase, *, attempt: int = 1, **progress) -> View:
    return View(
        name="nano",
        where="2 processes × 1 CPU device",
        folder="runs/nano",
        attempt=attempt,
        elapsed=elapsed,
        progress=Progress(phase=phase, since=0.0, **progress),
    )


def training(elapsed: float, step: int, *, of: int = 1000, **more) -> View:
    figures = {"loss": 2.5, "tokens": step * 1024, "tokens_per_second": 51_200.0, **more}
    return view(elapsed, Phase.TRAINING, step=step, of=of, **figures)


def lines_for(*views: View) -> list[str]:
    """All lines but the first, which names the job."""
    lines: list[str] = []
    display = PlainDisplay(lines.append)
    for one in views:
        display.show(one)
    assert lines[0].endswith("] nano on 2 processes × 1 CPU device; folder runs/nano")
    return lines[1:]


def test_a_change_of_phase_makes_a_line():
    assert lines_for(
        view(0, Phase.STARTING),
        view(0.3, Phase.STARTING),
        view(2, Phase.TOKENIZING, detail="train: 3 of 14 files"),
        view(65, Phase.RESTORING),
        view(66, Phase.COMPILING, of=1000),
        training(70, 0),
    ) == [
        "[0:00] attempt 1: starting",
        "[0:02] attempt 1: tokenizing (train: 3 of 14 files)",
        "[1:05] attempt 1: reading the checkpoint",
        "[1:06] attempt 1: compiling",
        "[1:10] attempt 1: training, step 0 of 1,000",
    ]


def test_training_makes_a_line_every_ten_seconds():
    assert lines_for(training(0, 1), training(9.9, 5), training(10, 10, mfu=0.41), training(19.9, 11)) == [
        "[0:00] attempt 1: training, step 1 of 1,000",
        "[0:10] attempt 1: step 10 of 1,000 (1%), loss 2.5000, 51,200 tokens/s, MFU 41%, 20 s left",
    ]


def test_training_makes_a_line_every_five_per_cent_but_no_two_within_a_second():
    assert lines_for(training(0, 0), training(0.9, 50), training(1.2, 60), training(2.0, 130), training(3.0, 140)) == [
        "[0:00] attempt 1: training, step 0 of 1,000",
        "[0:01] attempt 1: step 60 of 1,000 (6%), loss 2.5000, 51,200 tokens/s, 19 s left",
        "[0:03] attempt 1: step 140 of 1,000 (14%), loss 2.5000, 51,200 tokens/s, 17 s left",
    ]


def test_lines_grow_rarer_in_a_long_run():
    day = 86_400
    views = [training(second, second, of=100 * day) for second in range(0, day, 5)]
    assert len(lines_for(*views)) < 600


def test_an_evaluation_makes_a_line_and_going_back_to_training_none():
    assert lines_for(
        training(0, 10),
        view(1, Phase.EVALUATING, step=20, of=1000),
        training(2, 20, validation_loss=2.4),
        training(3, 21, validation_loss=2.4),
        view(4, Phase.SAVING, step=22, of=1000, validation_loss=2.4),
        training(5, 22, validation_loss=2.4),
    ) == [
        "[0:00] attempt 1: training, step 10 of 1,000",
        "[0:02] attempt 1: step 20: validation loss 2.4000",
    ]


def test_another_attempt_says_again_what_it_is_at():
    assert lines_for(training(0, 10), view(1, Phase.STARTING, attempt=2)) == [
        "[0:00] attempt 1: training, step 10 of 1,000",
        "[0:01] attempt 2: starting",
    ]


def test_messages_carry_the_time_and_no_control_characters():
    lines: list[str] = []
    display = PlainDisplay(lines.append)
    display.show(view(3725, Phase.STARTING))
    display.say("process 0 said \x1b[31mred\x1b[0m")
    assert lines[-1] == "[1:02:05] process 0 said ·[31mred·[0m"
