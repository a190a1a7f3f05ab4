"""`recovery.onNaN: rollback`: from a loss that is not finite back to the last checkpoint, and on without its batch.

Only the batch on which it was seen is left out. Which one that is depends on the job alone, while the last checkpoint
depends on the clock: so a run that rolled back has the same losses wherever it went back to, and however often it was
stopped on the way.
"""

import logging
from collections.abc import Callable

from lateen_api.progress import Phase
from lateen_api.spec import RecoverySpec

from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.data.skips import Skips
from lateen_trainer.errors import NotFiniteError
from lateen_trainer.loop import Loop
from lateen_trainer.report.reporter import Reporter
from lateen_trainer.step.state import TrainState

log = logging.getLogger(__name__)


class Rollbacks:
    """Runs a loop, and rolls it back where the job asks for that.

    Args:
        recovery: `maxFailures` bounds how often in a row training goes back to one checkpoint.
        checkpoints: remember the batches that are left out.
        skips: those of them that are known.
    """

    def __init__(self, recovery: RecoverySpec, checkpoints: Checkpoints, loop: Loop, report: Reporter, skips: Skips):
        self._recovery, self._checkpoints, self._loop, self._report = recovery, checkpoints, loop, report
        self._skips = skips
        self._from: int | None = None
        self._in_a_row = 0

    def run_from(self, state: TrainState, start: int, restore: Callable[[], TrainState]) -> tuple[TrainState, bool]:
        """As `Loop.run_from`.

        Args:
            restore: gives the state of the last checkpoint, or a new one.

        Raises:
            NotFiniteError: `onNaN` is not rollback, or it did not help.
        """
        while True:
            try:
                return self._loop.run_from(state, start)
            except NotFiniteError as error:
                if self._recovery.on_nan != "rollback":
                    raise
                self._leave_out(error)
            # Here the error is gone, and with it the frames that hold the broken state: two would not fit a device.
            self._report.phase(Phase.RESTORING)
            state = restore()
            start = int(state.step)
            self._report.rewound(start)

    def _leave_out(self, error: NotFiniteError) -> None:
        origin = self._checkpoints.last_committed
        self._in_a_row = self._in_a_row + 1 if origin == self._from else 1
        self._from = origin
        if self._in_a_row > self._recovery.max_failures:
            raise NotFiniteError(
                f"{error} Training went back {self._recovery.max_failures} times (spec.recovery.maxFailures) "
                f"and left out a batch each time, which did not help.",
                error.step,
            ) from error
        batch = self._skips.batch_of(error.step)
        self._skips = self._skips.with_step(error.step)
        # Before anything else: whoever goes on from here must leave it out, too.
        self._checkpoints.note_skipped(self._skips.batches)
        self._loop.leave_out(self._skips)
        where = "the beginning" if origin is None else f"the checkpoint of step {origin}"
        log.warning("%s Going back to %s; batch %d is left out from now on.", error, where, batch)
