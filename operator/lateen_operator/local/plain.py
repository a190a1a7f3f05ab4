"""The display for logs and pipes: plain lines, few of them, without control characters."""

from collections.abc import Callable

from lateen_api.progress import Phase, Progress

from lateen_operator import wording
from lateen_operator.local.view import View

SECONDS_BETWEEN_LINES = 10.0
SHARE_BETWEEN_LINES = 0.05
LEAST_SECONDS_BETWEEN_LINES = 1.0
# In a run of days a line every ten seconds would bury the rest: lines grow rarer with the time that has
# passed.
SHARE_OF_ELAPSED = 0.01

_ON_THE_WAY = {
    Phase.STARTING: "starting",
    Phase.TOKENIZING: "tokenizing",
    Phase.RESTORING: "reading the checkpoint",
    Phase.COMPILING: "compiling",
    Phase.TRAINING: "training",
    Phase.EXPORTING: "finishing",
}
"""Phases worth a line. Evaluating and saving come back all the time: their results are shown instead."""

_PHASES = {**_ON_THE_WAY, Phase.WAITING_FOR_DATA: "waiting for data"}
"""Phases whose names are not words of English."""


class PlainDisplay:
    """Writes a line when the phase changes, for each evaluation, and every ten seconds or five per cent.

    Args:
        write: takes a line without its end.
    """

    def __init__(self, write: Callable[[str], None]):
        self._write = write
        self._attempt = 0
        self._phase: Phase | None = None
        self._validation_loss: float | None = None
        self._line_at = 0.0
        self._line_fraction = 0.0
        self._elapsed = 0.0

    def show(self, view: View) -> None:
        """Writes what is new in the view."""
        progress, self._elapsed = view.progress, view.elapsed
        if self._attempt == 0:
            self.say(f"{view.name} on {view.where}; folder {view.folder}")
        if view.attempt != self._attempt:
            self._attempt, self._phase, self._line_fraction = view.attempt, None, view.fraction
        if progress.phase in _ON_THE_WAY and progress.phase is not self._phase:
            self._phase = progress.phase
            self._line(view, _phase_text(progress))
        elif progress.validation_loss is not None and progress.validation_loss != self._validation_loss:
            self._line(view, f"step {progress.step:,}: validation loss {wording.loss(progress.validation_loss)}")
        elif self._is_due(view):
            self._line(view, _training_text(view) if progress.phase is Phase.TRAINING else _phase_text(progress))
        self._validation_loss = progress.validation_loss

    def say(self, message: str) -> None:
        """Writes the message as a line."""
        self._write(f"[{wording.clock(self._elapsed)}] {wording.printable(message)}")

    def close(self) -> None:
        """Nothing to put in order."""

    def _is_due(self, view: View) -> bool:
        since = view.elapsed - self._line_at
        far = view.fraction - self._line_fraction >= SHARE_BETWEEN_LINES
        return since >= max(SECONDS_BETWEEN_LINES, SHARE_OF_ELAPSED * view.elapsed) or (
            far and since >= LEAST_SECONDS_BETWEEN_LINES
        )

    def _line(self, view: View, text: str) -> None:
        self._line_at, self._line_fraction = view.elapsed, view.fraction
        self._write(f"[{wording.clock(view.elapsed)}] attempt {view.attempt}: {text}")


def _phase_text(progress: Progress) -> str:
    text = _PHASES.get(progress.phase, progress.phase.value.lower())
    if progress.phase is Phase.TRAINING and progress.of:
        text += f", step {progress.step:,} of {progress.of:,}"
    return text + (f" ({wording.printable(progress.detail)})" if progress.detail else "")


def _training_text(view: View) -> str:
    progress, left = view.progress, view.seconds_left
    parts = [f"step {progress.step:,} of {progress.of:,} ({view.fraction:.0%})"]
    if progress.loss is not None:
        parts.append(f"loss {wording.loss(progress.loss)}")
    if progress.tokens_per_second:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.mfu is not None:
        parts.append(f"MFU {progress.mfu:.0%}")
    if left is not None:
        parts.append(f"{wording.duration(left)} left")
    return ", ".join(parts)
