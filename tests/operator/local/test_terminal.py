"""What the live display draws."""

import io
import math

from lateen_api.progress import Phase, Progress
from lateen_operator.local.terminal import TerminalDisplay, render
from lateen_operator.local.view import View
from rich.console import Console

LOSSES = [(step, 2.0 + 4.0 * math.exp(-step / 50)) for step in range(1, 341)]
TRAINING = Progress(
    phase=Phase.TRAINING,
    since=0.0,
    step=340,
    of=1000,
    tokens=340 * 8192,
    loss=2.314,
    validation_loss=2.41,
    tokens_per_second=16_384.0,
    mfu=0.41,
    last_checkpoint="step-300",
    last_checkpoint_step=300,
)


def drawn(progress: Progress, *, width: int = 100, height: int = 40, encoding: str = "utf-8", attempt: int = 1) -> str:
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(file=output, force_terminal=True, width=width, height=height, color_system=None)
    view = View("nano", "2 processes × 1 CPU device", "runs/nano", attempt, 83.0, progress, LOSSES)
    console.print(render(view, console, now=0.0))
    output.flush()
    text = output.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


def test_training_is_drawn_with_bar_curve_and_figures():
    lines = drawn(TRAINING, attempt=2).splitlines()
    assert lines[1] == "  nano   2 processes × 1 CPU device   attempt 2   1:23"
    assert lines[3].split() == ["Training", "━━━━━━━━━━━━━╸", "340", "/", "1,000", "34%", "5", "min", "30", "s", "left"]
    assert lines[5].startswith("     5.")
    assert [line[10:12] for line in lines[5:10]] == [" ┤", " │", " │", " │", " ┤"]
    assert lines[10].split() == ["loss", "1", "340"]
    assert lines[12] == "  loss 2.3140  validation 2.4100  tokens/s 16,384  MFU 41%  checkpoint step 300"


def test_a_low_terminal_gets_no_curve():
    assert "┤" not in drawn(TRAINING, height=12)


def test_a_terminal_without_unicode_gets_no_curve_and_an_ascii_bar():
    text = drawn(TRAINING, encoding="ascii")
    assert "---" in text
    assert "loss 2.3140" in text
    assert len(text.splitlines()) == 6


def test_no_line_is_wider_than_the_terminal():
    for width in (40, 60, 80, 200):
        assert max(map(len, drawn(TRAINING, width=width).splitlines())) <= width


def test_before_training_the_phase_and_its_detail_are_drawn():
    tokenizing = Progress(phase=Phase.TOKENIZING, since=0.0, detail="train: 3 of 14 files")
    lines = drawn(tokenizing, height=12).splitlines()
    assert lines[3].split("━")[0] == "  Tokenizing  "
    assert lines[3].endswith("train: 3 of 14 files")


def test_messages_stay_and_the_drawing_goes_when_it_is_closed():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, height=30, color_system=None)
    display = TerminalDisplay(console, clock=lambda: 0.0)
    display.show(View("nano", "1 process", "runs/nano", 1, 0.0))
    display.say("process 1 was killed by SIGKILL")
    display.close()
    assert "▸ process 1 was killed by SIGKILL" in output.getvalue() or "> process 1" in output.getvalue()
    assert output.getvalue().count("\x1b[?25l") == output.getvalue().count("\x1b[?25h") == 1
