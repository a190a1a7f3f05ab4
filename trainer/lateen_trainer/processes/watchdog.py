"""Whether the loop still moves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lateen_api.progress import Phase

ONE_HOUR = 3600.0
PATIENCE: Mapping[Phase, float] = MappingProxyType(
    {
        Phase.STARTING: ONE_HOUR,
        Phase.TOKENIZING: ONE_HOUR,
        Phase.RESTORING: ONE_HOUR,
        Phase.COMPILING: ONE_HOUR,
        Phase.WAITING_FOR_DATA: ONE_HOUR,
        Phase.EVALUATING: ONE_HOUR,
        Phase.SAVING: ONE_HOUR,
        Phase.EXPORTING: ONE_HOUR,
        Phase.DONE: float("inf"),
    }
)
"""Seconds without a beat that the phases besides training may take, if `hangAfter` is not longer still.
Their longest parts (one shard, one compilation, one upload) say nothing about the length of a step. A
process that is done waits for its peers, which are watched themselves."""


@dataclass(frozen=True)
class Beat:
    """The last sign of life."""

    phase: Phase
    step: int
    at: float


class Watchdog:
    """Knows when the loop has stood still for too long.

    Args:
        hang_after: seconds that a step may take (`recovery.hangAfter`).
        now: seconds on a monotonic clock.
    """

    def __init__(self, hang_after: float, *, now: float):
        self.hang_after = hang_after
        self.last = Beat(Phase.STARTING, 0, now)

    def beat(self, phase: Phase, step: int, now: float) -> None:
        """A sign of life. In training only a new step counts as one."""
        if phase is Phase.TRAINING and (phase, step) == (self.last.phase, self.last.step):
            return
        self.last = Beat(phase, step, now)

    def forgive(self, now: float) -> None:
        """Restarts the time-out: the process itself was asleep."""
        self.last = replace(self.last, at=now)

    def overdue(self, now: float) -> str | None:
        """What is too late, for people; None: all is well."""
        last = self.last
        bound = max(self.hang_after, PATIENCE.get(last.phase, 0.0))
        if now - last.at <= bound:
            return None
        silent = f"nothing has moved for {now - last.at:.0f} s"
        if last.phase is Phase.TRAINING:
            return f"The step after step {last.step} hung: {silent} (recovery.hangAfter is {bound:.0f} s)."
        return f"{last.phase} at step {last.step} hung: {silent} (the bound is {bound:.0f} s)."
