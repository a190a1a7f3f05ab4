"""The training loop: steps, and what comes between them."""

import functools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from lateen_api.progress import Phase

from lateen_trainer.data.background import BackgroundBuilder
from lateen_trainer.data.batch import Batch
from lateen_trainer.data.loader import POLL_SECONDS, Loader
from lateen_trainer.data.run_sequences import RunSequences
from lateen_trainer.data.sequence_sources import SequenceSource
from lateen_trainer.data.skips import Skips
from lateen_trainer.errors import NotFiniteError
from lateen_trainer.hugging_face.exports import Exports
from lateen_trainer.processes.lifecycle import Lifecycle
from lateen_trainer.report import names
from lateen_trainer.report.reporter import Reporter
from lateen_trainer.report.unread_step import UnreadStep
from lateen_trainer.run import Run
from lateen_trainer.saving import Saving
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import TrainState
from lateen_trainer.step.train_step import make_train_step
from lateen_trainer.step.votes import Votes
from lateen_trainer.validation import Evaluation, Losses

log = logging.getLogger(__name__)


class Loop:
    """Trains from a step to the end, or to the step at which all processes agree to stop.

    The numbers of a step are read when the next one has been handed to the device, so that the device never waits
    for this loop. Before a checkpoint or an evaluation they are read at once: what is not finite must not get there.

    A batch that is left out moves all later ones up (`data.skips`). Where the compiled step left the state as it was,
    the step that was handed to the device in the meantime has been trained in its place already, on the right batch.

    Args:
        first: whether this is process 0, whose clock says when a checkpoint is due.
        sequences: of the training data.
        validation: sets to evaluate on, by name; empty: there is no evaluation.
        skips: batches that are left out, as far as is known.
        supply: completes the training data while training goes on; None: they are whole.
        least: of a number of each process, the least of all; all of them call it.
        last_loss: training loss of the last step before this loop, in nats per token; None: not known.
        exports: of the model, between steps; the last one is the caller's.
    """

    def __init__(
        self,
        run: Run,
        life: Lifecycle,
        report: Reporter,
        saving: Saving,
        sequences: RunSequences,
        validation: Mapping[str, SequenceSource],
        *,
        first: bool,
        skips: Skips,
        supply: BackgroundBuilder | None = None,
        least: Callable[[int], int] = lambda number: number,
        last_loss: float | None = None,
        exports: Exports,
    ):
        trainer, plan, rules = run.spec.trainer, run.plan, run.settings.rules
        self._life, self._report, self._saving, self._exports = life, report, saving, exports
        self._first = first
        self._steps, self._steps_per_eval = trainer.num_train_steps, trainer.steps_per_eval
        self._train_step = make_train_step(run.settings)
        self._votes = Votes(rules)
        self._make_loader = functools.partial(
            Loader,
            sequences,
            batch_size=trainer.train_batch_size,
        )
        self._supply, self._least = supply, least
        self._recovery = run.spec.recovery
        self._evaluated = run.evaluated
        self._trained = 0
        self._skipped_in_a_row = 0
        self._placement = BatchPlacement(rules, trainer.train_batch_size, plan.accumulation_steps)
        self._evaluation = Evaluation(run, validation) if validation else None
        self._unread: UnreadStep | None = None
        self._read_at = time.perf_counter()
        self._take_up(skips)
        self.last_loss = last_loss
        """Training loss of the last step that was read: nats per token."""
        self.validation_loss: float | None = None
        """Loss of the last evaluation: nats per token."""

    @property
    def skips(self) -> Skips:
        """The batches that are left out."""
        return self._skips

    def leave_out(self, step: int, reason: str) -> None:
        """Leaves the batch of a step (from 1 on) out from now on; later attempts of this run do so too."""
        log.warning("%s: batch %d is left out", reason, self._skips.batch_of(step - 1))
        skips = self._skips.with_step(step - 1, reason)
        self._saving.note_skipped(skips)
        self._take_up(skips)

    def _take_up(self, skips: Skips) -> None:
        self._skips = skips
        self._loader = self._make_loader(skips=skips)
        self._ready_until = 0
        self._report.left_out(skips.batches)

    def run_from(self, state: TrainState, start: int) -> tuple[TrainState, bool]:
        """Trains the steps from `start` on.

        Returns:
            The state, which has been saved, and whether the run was stopped before its end.

        Raises:
            NotFiniteError: a loss was NaN or infinite, and `recovery.onNaN` does not skip it (any more).
            NotSavedError: the last checkpoint could not be written.
        """
        self._trained, self._unread = start, None
        self._saving.start_at(start)
        # The attempt that saved this state was stopped before the evaluation of it, or may have been.
        stopped = start > 0 and self._is_evaluation_due and not self._evaluate(state)
        self._report.phase(Phase.COMPILING)
        self._read_at = time.perf_counter()
        compiled = False
        while self._trained < self._steps and not stopped:
            state, stopped = self._run_in_order(state, compiled=compiled)
            compiled = True
        self._saving.save_for_good(self._trained, state, self._skips, self.last_loss)
        if self._trained < self._steps:
            return state, True
        return state, not self._evaluate(state)

    def _run_in_order(self, state: TrainState, *, compiled: bool) -> tuple[TrainState, bool]:
        """Trains until the end, until a batch is left out and the later ones move up, or until all processes agree to
        stop.

        Returns:
            The state, and whether the run was stopped.
        """
        loader, save_wanted, stopped = self._loader, False, False
        with loader.prefetch(self._trained, self._steps, rows=self._placement.rows) as batches:
            timed = _timed(batches)
            while self._trained < self._steps:
                if self._trained >= self._ready_until:
                    save_wanted = self._read() or save_wanted
                    if self._loader is not loader:
                        break
                    if not self._wait_for_data(loader, begun=compiled):
                        stopped = True
                        break
                _, rows, waited = next(timed)
                noted = {names.DATA_WAIT_SECONDS: waited}
                batch = self._placement.place(rows)
                idle = self._unread.idle_since(self._read_at) if self._unread else 0.0
                began = time.perf_counter()
                state, metrics = self._train_step(state, batch)
                if not compiled:
                    compiled = True
                    self._life.begun()
                    noted[names.COMPILE_SECONDS] = time.perf_counter() - began
                    self._read_at = time.perf_counter()
                vote = self._votes.cast(self._first and self._saving.is_due(self._trained + 1))
                save_wanted = self._read() or save_wanted
                self._unread = UnreadStep(metrics, vote, noted, idle)
                self._trained += 1
                save_wanted = save_wanted or self._saving.is_permanent(self._trained)
                eval_wanted = self._is_evaluation_due
                export_wanted = self._exports.is_due(self._trained) and self._trained < self._steps
                if save_wanted or eval_wanted or export_wanted:
                    reached = self._trained
                    self._read()
                    if self._trained < reached:
                        break
                    if save_wanted:
                        self._save(state)
                        save_wanted = False
                    stopped = eval_wanted and not self._evaluate(state)
                    if export_wanted and not stopped:
                        self._export(state)
                stopped = stopped or self._life.should_stop()
                if stopped or self._loader is not loader:
                    break
        self._read()
        return state, stopped

    def _wait_for_data(self, loader: Loader, *, begun: bool) -> bool:
        """Returns when all processes can read the batch of the next step; False: all agreed to stop meanwhile.

        Every process looks by itself, and they agree on the step that all can go to: a process that waited inside a
        step would hold up the others' stop.
        """
        phase = Phase.TRAINING if begun else Phase.COMPILING
        while True:
            self._ready_until = self._least(loader.ready_until(self._steps))
            if self._ready_until > self._trained:
                if self._report.is_in(Phase.WAITING_FOR_DATA):
                    self._report.phase(phase)
                    self._read_at = time.perf_counter()
                return True
            if self._supply is not None:
                self._supply.check()
                self._report.phase(Phase.WAITING_FOR_DATA, self._supply.detail(loader.waits_for))
            # Before the first step there is nothing to save: SIGTERM ends the process.
            if begun and self._life.should_stop():
                return False
            time.sleep(POLL_SECONDS)

    def _read(self) -> bool:
        """Reads and reports the numbers of the step that was last counted as trained.

        Returns:
            Whether a checkpoint is due, by process 0's clock.
        """
        self._saving.report(self._trained)
        if self._unread is None:
            return False
        unread, self._unread = self._unread, None
        numbers: dict[str, float] = {name: float(value) for name, value in unread.metrics.items()}
        now = time.perf_counter()
        # The gradient too: a loss can be finite and its gradient not, and then the parameters no longer are.
        if math.isfinite(numbers[names.LOSS]) and math.isfinite(numbers[names.GRAD_NORM]):
            self.last_loss, self._skipped_in_a_row = numbers[names.LOSS], 0
            timed = {**unread.noted, names.STEP_SECONDS: now - self._read_at}
            self._report.trained(self._trained, {**numbers, **timed}, idle=unread.idle)
        else:
            self._not_finite(numbers)
        self._read_at = now
        return bool(unread.vote)

    def _not_finite(self, numbers: Mapping[str, float]) -> None:
        """Takes the last step back, which the compiled step left without effect; raises NotFiniteError where that is
        not asked for, or happened too often in a row."""
        step = self._trained
        seen = f"the loss of step {step} is {numbers[names.LOSS]}, the norm of its gradient {numbers[names.GRAD_NORM]}"
        # What is being saved is from before it, and to be gone back to.
        self._saving.wait(step)
        if self._recovery.on_nan == "skip" and self._skipped_in_a_row < self._recovery.max_failures:
            self._skipped_in_a_row += 1
            self._trained = step - 1
            self._report.phase(Phase.SAVING)
            self.leave_out(step, seen)
            self._report.phase(Phase.TRAINING)
            return
        self._report.trained(step, numbers)
        tried = ""
        if self._skipped_in_a_row > 0:
            tried = f" on {self._skipped_in_a_row + 1} batches in a row (spec.recovery.maxFailures)"
        last = self._saving.last_committed_url
        raise NotFiniteError(
            f"{seen[0].upper()}{seen[1:]}: expected finite numbers, which did not come{tried}. Lower "
            "spec.optimizer.learningRate, lengthen spec.optimizer.warmup or use float32 (spec.trainer.mp). "
            f"The last checkpoint from before it: {last or 'none'}.",
            step,
            seen=seen,
        )

    @property
    def _is_evaluation_due(self) -> bool:
        """After the steps trained so far; after the last there is one in any case."""
        return self._trained % self._steps_per_eval == 0 and self._trained < self._steps

    def _evaluate(self, state: TrainState) -> bool:
        """Evaluates, if there is something to evaluate on; False: all processes agreed to stop meanwhile."""
        if self._evaluation is None:
            return True
        self._report.phase(Phase.EVALUATING)
        sums: dict[str, Losses] = {}
        for name, loss, counted in self._evaluation.batches(state):
            sums[name] = sums.get(name, Losses()).added(loss, counted)
            self._report.phase(Phase.EVALUATING)
            if self._life.should_stop():
                return False
        self.validation_loss = sum(sums.values(), Losses()).mean
        by_source = {name: losses.mean for name, losses in sums.items() if name}
        self._report.evaluated(self._trained, self.validation_loss, by_source)
        self._report.phase(Phase.TRAINING)
        self._read_at = time.perf_counter()
        return True

    @property
    def losses(self) -> dict[str, float | None]:
        """The last losses, in nats per token, by what they are of."""
        return {"Training": self.last_loss, "Validation": self.validation_loss}

    def _export(self, state: TrainState) -> None:
        self._exports.write_step(self._trained, self._evaluated(state), self.losses)
        self._report.phase(Phase.TRAINING)
        self._read_at = time.perf_counter()

    def _save(self, state: TrainState) -> None:
        self._saving.save(self._trained, state, self._skips, self.last_loss)
        self._report.phase(Phase.TRAINING)
        self._read_at = time.perf_counter()


def _timed(batches: Iterable[tuple[int, Batch]]) -> Iterator[tuple[int, Batch, float]]:
    """Batches with the seconds that each was waited for."""
    iterator = iter(batches)
    while True:
        began = time.perf_counter()
        try:
            step, rows = next(iterator)
        except StopIteration:
            return
        yield step, rows, time.perf_counter() - began
