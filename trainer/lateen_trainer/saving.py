"""Checkpoints of a run: when one is due, what it keeps besides the state, and what is reported of it."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from lateen_api.hugging_face.checkpoint import ABOUT
from lateen_api.progress import Phase
from lateen_api.spec.section import duration_seconds

from lateen_trainer.checkpoint.checkpoints import Checkpoints, SaveFigures
from lateen_trainer.checkpoint.made_by import made_by
from lateen_trainer.checkpoint.restore import OPTIMIZER_TYPE
from lateen_trainer.checkpoint.retention import SavePolicy, is_permanent
from lateen_trainer.checkpoint.save import NotSavedError
from lateen_trainer.data.skips import Skips
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.report import names
from lateen_trainer.report.reporter import Reporter
from lateen_trainer.run import Run
from lateen_trainer.step.state import TrainState
from lateen_trainer.storage import StoreError, StoreTrouble

MAX_FAILED_SAVES = 3
"""In a row, by the object store: then the run ends, rather than train on with nothing to go back to."""

RETRY_SECONDS = 30.0
"""After such a failure. TensorStore has tried for a minute and a half each time (`storage.RETRIES`)."""

log = logging.getLogger(__name__)


class Saving:
    """Saves the state of a run while it is trained.

    Args:
        origin: what determines the order of the data; kept with every checkpoint.
        about: the run, as checkpoints keep it.
    """

    def __init__(
        self, run: Run, report: Reporter, checkpoints: Checkpoints, origin: Mapping[str, Any], about: AboutRun
    ):
        self._report, self._checkpoints, self._origin = report, checkpoints, origin
        spec = run.spec.checkpoint
        self._policy = SavePolicy(duration_seconds(spec.save_interval), tuple(spec.keep), time.time())
        self._facts = {
            OPTIMIZER_TYPE: run.spec.optimizer.type,
            "madeBy": made_by(run.plan),
            ABOUT: about.to_json(),
        }
        self._saved_step: int | None = None
        self._failures = 0
        self._reported: SaveFigures | None = None

    @property
    def last_committed_url(self) -> str | None:
        """The newest checkpoint that is whole."""
        return self._checkpoints.last_committed_url

    def start_at(self, step: int) -> None:
        """Called when training goes on from the checkpoint of a step, or begins with step 0."""
        self._saved_step = step if step > 0 else None

    def is_due(self, step: int) -> bool:
        """Whether to save after so many steps, by the clock of this process: let one decide for all."""
        return self._policy.due(step, time.time())

    def is_permanent(self, step: int) -> bool:
        """Whether a rule of `spec.checkpoint.keep` names the step."""
        return is_permanent(step, self._policy.keep)

    def note_skipped(self, skips: Skips) -> None:
        """Writes down the batches that are left out. Called before a checkpoint knows of it: none that was trained
        without a batch may be gone on from with it."""
        self._checkpoints.note_skipped(skips.reasons, self._origin)

    def save(self, step: int, state: TrainState, skips: Skips, train_loss: float | None) -> None:
        """Begins a checkpoint; one that failed is reported, and training goes on.

        Raises:
            UserError, StoreError: the object store has failed too often in a row.
        """
        began = time.perf_counter()
        self._report.phase(Phase.SAVING)
        try:
            self._checkpoints.save(step, state, self._metadata(step, skips, train_loss))
        except NotSavedError as error:  # the one before it
            self._failed(error)
        self._saved_step = step
        self._policy = self._policy.saved(time.time())
        self._report.noted(step, {names.CHECKPOINT_BLOCKED_SECONDS: time.perf_counter() - began})

    def save_for_good(self, step: int, state: TrainState, skips: Skips, train_loss: float | None) -> None:
        """Sees to it that the state is committed.

        Raises:
            NotSavedError: it could not be written.
            UserError, StoreError: the object store has failed too often in a row.
        """
        self._report.phase(Phase.SAVING)
        self.wait(step)
        while self._saved_step != step:
            if self._failures:
                time.sleep(RETRY_SECONDS)
            try:
                self._checkpoints.save(step, state, self._metadata(step, skips, train_loss), block=True)
                self._saved_step = step
            except NotSavedError as error:
                if error.trouble is None:
                    raise
                self._failed(error)
            self.report(step)

    def wait(self, step: int) -> None:
        """Returns when no checkpoint is being written any more.

        Raises:
            UserError, StoreError: the object store has failed too often in a row.
        """
        try:
            self._checkpoints.wait()
        except NotSavedError as error:
            self._failed(error)
        self.report(step)

    def report(self, step: int) -> None:
        """Reports what has been committed meanwhile, and how long it took; or that it has failed.

        Raises:
            UserError, StoreError: the object store has failed too often in a row.
        """
        try:
            self._checkpoints.check()
        except NotSavedError as error:
            self._failed(error)
        url, committed = self._checkpoints.last_committed_url, self._checkpoints.last_committed
        if url is not None and committed is not None:
            self._report.committed(url, committed)
        save = self._checkpoints.last_save
        if save is not None and save != self._reported:
            self._reported, self._failures = save, 0
            figures = {names.CHECKPOINT_SECONDS: save.seconds, names.CHECKPOINT_BYTES: save.nbytes}
            self._report.noted(step, figures)

    def _failed(self, error: NotSavedError) -> None:
        """Counts a save that has failed, and has the next one tried soon if the object store may answer by then."""
        self._saved_step = None
        if error.trouble is None:
            log.error("%s Training goes on; the next checkpoint is tried when it is due.", error)
            return
        self._failures += 1
        if self._failures >= MAX_FAILED_SAVES:
            kind = UserError if error.trouble is StoreTrouble.REFUSED else StoreError
            raise kind(
                f"{error} That was the save number {self._failures} in a row that failed, so the run ends. "
                f"The last checkpoint: {self.last_committed_url or 'none'}."
            )
        log.error("%s Training goes on; it is tried again in %g s.", error, RETRY_SECONDS)
        self._policy = self._policy.due_in(RETRY_SECONDS, time.time())

    def _metadata(self, step: int, skips: Skips, train_loss: float | None) -> dict[str, Any]:
        """What a checkpoint keeps besides the state."""
        skipped = {str(batch): reason for batch, reason in skips.before(step).reasons.items()}
        return {**self._origin, **self._facts, "skipped": skipped, "trainLoss": train_loss}
