"""`recovery.onNaN: rollback`: from a loss that is not finite back to the last checkpoint, and on without its batch.

Only the batch on which it was seen is left out. Which one that is depends on the job alone, while the last checkpoint
depends on the clock: so a run that rolled back has the same losses wherever it went back to, and however often it was
stopped on the way.
"""

import logging
from collections.abc import Callable

from lateen_api.progress import Phase
from lateen_api.spec import RecoverySpec

from lateen_trainer.errors import NotFiniteError
from lateen_trainer.loop import Loop
from lateen_trainer.report.reporter import Reporter
from lateen_trainer.step.state import TrainState

log = logging.getLogger(__name__)


class Rollbacks:
    """Runs a loop, and rolls it back where the job asks for that.

    A process that is killed in between loses nothing: before the batch is in the ledger, an attempt that goes on from
    the checkpoint meets it again; afterwards, it leaves it out.

    Args:
        recovery: `maxFailures` bounds how often in a row training goes back to one checkpoint.
        restore: gives the state of the last checkpoint, or a new one; the same on all processes.
    """

    def __init__(self, recovery: RecoverySpec, loop: Loop, report: Reporter, *, restore: Callable[[], TrainState]):
        self._at_most = recovery.max_failures if recovery.on_nan == "rollback" else 0
        self._loop, self._report, self._restore = loop, report, restore
        self._origin: int | None = None
        """Step of the checkpoint that training went back to last."""

        self._in_a_row = 0

    def run_from(self, state: TrainState, start: int) -> tuple[TrainState, bool]:
        """As `Loop.run_from`.

        Raises:
            NotFiniteError: `onNaN` is not rollback, or it did not help.
        """
        while True:
            try:
                return self._loop.run_from(state, start)
            except NotFiniteError as error:
                if self._at_most == 0:
                    raise
                # Without the frames that hold the broken state: two states would not fit a device.
                trouble = error.with_traceback(None)
            self._report.phase(Phase.RESTORING)
            state = self._restore()
            start = int(state.step)
            # By what was restored, and not by what is known of commits, of which processes hear at different times.
            self._count(start, trouble)
            where = f"the checkpoint of step {start}" if start > 0 else "the beginning"
            log.warning("%s: going back to %s", trouble.seen, where)
            self._loop.leave_out(trouble.step, trouble.seen)
            self._report.rewound(start)

    def _count(self, origin: int, trouble: NotFiniteError) -> None:
        self._in_a_row = self._in_a_row + 1 if origin == self._origin else 1
        self._origin = origin
        if self._in_a_row > self._at_most:
            raise NotFiniteError(
                f"{trouble} Training went back to step {origin} as often as spec.recovery.maxFailures "
                f"({self._at_most}) allows and left a batch out each time, which did not help.",
                trouble.step,
                seen=trouble.seen,
            )
