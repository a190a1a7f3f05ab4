"""The display for people at a terminal: a progress bar, the loss as a curve, and the figures."""

from collections.abc import Callable

from lateen_api.progress import Phase
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lateen_operator import wording
from lateen_operator.local import braille
from lateen_operator.local.view import View

CURVE_HEIGHT = 5
CURVE_WIDTH = 64
LEAST_POINTS = 8
_LEAST_LINES = 14
_LABEL_WIDTH = 8

_DOING = {
    Phase.RESTORING: "Reading the checkpoint",
    Phase.WAITING_FOR_DATA: "Waiting for data",
    Phase.EXPORTING: "Finishing",
}


class TerminalDisplay:
    """Redraws a few lines at the bottom; messages scroll above them.

    Args:
        console: a terminal.
        clock: seconds, for the animation of the bar while the number of steps is not known.
    """

    def __init__(self, console: Console, clock: Callable[[], float]):
        self._console = console
        self._clock = clock
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, view: View) -> None:
        """Draws the view."""
        self._live.update(render(view, self._console, self._clock()), refresh=True)

    def say(self, message: str) -> None:
        """Prints the message above the drawing."""
        self._console.print(Text("▸ " if _has_unicode(self._console) else "> ", "yellow") + wording.printable(message))

    def close(self) -> None:
        """Takes the drawing away; what was said stays."""
        self._live.stop()


def render(view: View, console: Console, now: float) -> RenderableType:
    """The drawing: as many parts as the terminal has room for."""
    parts: list[RenderableType] = [Text(), _heading(view), Text(), _bar(view, console, now)]
    if _has_unicode(console) and console.height >= _LEAST_LINES and len(view.losses) >= LEAST_POINTS:
        parts += [Text(), _curve(view, console)]
    parts += [Text(), _figures(view), Text()]
    return Group(*parts)


def _heading(view: View) -> Text:
    heading = Text("  ", no_wrap=True, overflow="ellipsis")
    heading.append(view.name, "bold")
    heading.append(f"   {view.where}", "dim")
    if view.attempt > 1:
        heading.append(f"   attempt {view.attempt}", "yellow")
    heading.append(f"   {wording.clock(view.elapsed)}", "dim")
    return heading


def _bar(view: View, console: Console, now: float) -> Table:
    progress, left = view.progress, view.seconds_left
    known = progress.of > 0
    bar = ProgressBar(
        total=progress.of if known else None,
        completed=progress.step,
        pulse=not known,
        animation_time=now,
        width=min(40, max(10, console.width - 56)),
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    doing = _DOING.get(progress.phase, str(progress.phase))
    table.add_row(
        Text("  " + doing, "cyan"),
        bar,
        Text(f"{progress.step:,} / {progress.of:,}" if known else ""),
        Text(f"{view.fraction:.0%}" if known else "", "bold"),
        Text(f"{wording.duration(left)} left" if left is not None else "", "dim"),
        Text(wording.printable(progress.detail or ""), "dim", no_wrap=True, overflow="ellipsis"),
    )
    return table


def _curve(view: View, console: Console) -> Group:
    """The curve, with the highest and lowest loss and the first and last step at its edges."""
    width = min(CURVE_WIDTH, console.width - _LABEL_WIDTH - 6)
    columns = braille.binned(view.losses, width)
    losses = [loss for _, loss in columns]
    labels = {0: f"{max(losses):.3f}", CURVE_HEIGHT - 1: f"{min(losses):.3f}"}
    lines = []
    for row, line in enumerate(braille.curve(columns, width, CURVE_HEIGHT)):
        label = labels.get(row, "").rjust(_LABEL_WIDTH + 2) + (" ┤" if row in labels else " │")
        lines.append(Text(label, "dim") + Text(line, "not dim blue"))
    first, last = f"{view.losses[0][0]:,}", f"{view.losses[-1][0]:,}"
    foot = f"{'loss'.rjust(_LABEL_WIDTH + 2)}  {first}{last.rjust(width - len(first))}"
    return Group(*lines, Text(foot, "dim"))


def _figures(view: View) -> Text:
    progress = view.progress
    parts: list[tuple[str, str]] = []
    if progress.loss is not None:
        parts.append(("loss ", wording.loss(progress.loss)))
    if progress.validation_loss is not None:
        parts.append(("validation ", wording.loss(progress.validation_loss)))
    if progress.tokens_per_second:
        parts.append(("tokens/s ", f"{progress.tokens_per_second:,.0f}"))
    if progress.mfu is not None:
        parts.append(("MFU ", f"{progress.mfu:.0%}"))
    if progress.last_checkpoint_step is not None:
        parts.append(("checkpoint ", f"step {progress.last_checkpoint_step:,}"))
    text = Text("  ", no_wrap=True, overflow="ellipsis")
    for label, value in parts or [("", view.folder)]:
        text.append(label, "dim")
        text.append(value + "  ", "bold" if label == "loss " else "")
    return text


def _has_unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
