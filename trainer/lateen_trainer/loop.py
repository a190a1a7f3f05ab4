"""The training loop: steps, and what comes between them."""

import functools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from lateen_api.progress import Phase
from lateen_api.spec.section import duration_seconds

from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.retention import SavePolicy, is_permanent
from lateen_trainer.checkpoint.save import NotSavedError
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.evaluation import EvalBatches
from lateen_trainer.data.loader import Loader
from lateen_trainer.data.skips import Skips
from lateen_trainer.errors import NotFiniteError
from lateen_trainer.processes.lifecycle import Lifecycle
from lateen_trainer.report import names
from lateen_trainer.report.reporter import Reporter
from lateen_trainer.run import Run
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import TrainState
from lateen_trainer.step.train_step import make_eval_step, make_train_step
from lateen_trainer.step.votes import Votes

log = logging.getLogger(__name__)


class Loop:
    """Trains from a step to the end, or to the step at which all processes agree to stop.

    The numbers of a step are read when the next one has been handed to the device, so that the device never waits
    for this loop.

    Args:
        origin: what determines the order of the data; kept with every checkpoint.
        first: whether this is process 0, whose clock says when a checkpoint is due.
        validation_tokens: None: there is no evaluation.
        skips: batches that are left out.
    """

    def __init__(
        self,
        run: Run,
        life: Lifecycle,
        report: Reporter,
        checkpoints: Checkpoints,
        train_tokens: TokenCache,
        validation_tokens: TokenCache | None,
        origin: Mapping[str, str | int],
        *,
        first: bool,
        skips: Skips,
    ):
        trainer, plan, rules = run.spec.trainer, run.plan, run.settings.rules
        self._life, self._report, self._checkpoints, self._first = life, report, checkpoints, first
        self._origin = origin
        self._steps, self._steps_per_eval = trainer.num_train_steps, trainer.steps_per_eval
        self._train_step = make_train_step(run.settings)
        self._votes = Votes(rules)
        self._policy = SavePolicy(
            duration_seconds(run.spec.checkpoint.save_interval), tuple(run.spec.checkpoint.keep), time.time()
        )
        self._make_loader = functools.partial(
            Loader,
            train_tokens,
            batch_size=trainer.train_batch_size,
            seq_len=run.spec.model.seq_len,
            seed=trainer.seed,
        )
        self._loader = self._make_loader(skips=skips)
        self._recovery = run.spec.recovery
        self._skipped_in_a_row = 0
        self._placement = BatchPlacement(rules, trainer.train_batch_size, plan.accumulation_steps)
        self._evaluation = None if validation_tokens is None else Evaluation(run, validation_tokens)
        self._unread: _Unread | None = None
        self._read_at = time.perf_counter()
        self._saved_step: int | None = None
        self.last_loss: float | None = None
        """Training loss of the last step that was read: nats a token."""
        self.validation_loss: float | None = None
        """Loss of the last evaluation: nats a token."""

    def leave_out(self, skips: Skips) -> None:
        """From the next `run_from` on these batches are left out."""
        self._loader = self._make_loader(skips=skips)

    def run_from(self, state: TrainState, start: int) -> tuple[TrainState, bool]:
        """Trains the steps from `start` on.

        Returns:
            The state, which has been saved, and whether the run was stopped before its end.

        Raises:
            NotFiniteError: a loss was NaN or infinite, and `recovery.onNaN` does not skip it (any more).
            NotSavedError: the last checkpoint could not be written.
        """
        self._saved_step = start if start > 0 else None
        self._unread = None
        self._report.phase(Phase.COMPILING)
        self._read_at = time.perf_counter()
        trained, save_wanted = start, False
        with self._loader.prefetch(start, self._steps, rows=self._placement.rows) as batches:
            for step, rows, waited in _timed(batches):
                noted = {names.DATA_WAIT_SECONDS: waited}
                began = time.perf_counter()
                state, metrics = self._train_step(state, self._placement.place(rows))
                if step == start:
                    noted[names.COMPILE_SECONDS] = time.perf_counter() - began
                    self._read_at = time.perf_counter()
                trained = step + 1
                vote = self._votes.cast(self._first and self._policy.due(trained, time.time()))
                save_wanted = self._read() or save_wanted
                self._unread = _Unread(step, metrics, vote, noted)
                if save_wanted or is_permanent(trained, self._policy.keep):
                    self._save(state, trained)
                    save_wanted = False
                if trained % self._steps_per_eval == 0 and trained < self._steps and not self._evaluate(state, trained):
                    break
                if self._life.should_stop():
                    break
        self._read()
        self._save_for_good(state, trained)
        if trained < self._steps:
            return state, True
        return state, not self._evaluate(state, trained)

    def _read(self) -> bool:
        """Reads and reports the numbers of the step that was last handed to the device.

        Returns:
            Whether a checkpoint is due, by process 0's clock.
        """
        self._look_for_commit()
        if self._unread is None:
            return False
        unread, self._unread = self._unread, None
        numbers: dict[str, float] = {name: float(value) for name, value in unread.metrics.items()}
        now = time.perf_counter()
        # The gradient too: a loss can be finite and its gradient not, and then the parameters no longer are.
        if math.isfinite(numbers[names.LOSS]) and math.isfinite(numbers[names.GRAD_NORM]):
            self.last_loss, self._skipped_in_a_row = numbers[names.LOSS], 0
        else:
            self._not_finite(unread.step, numbers)
        self._report.trained(
            unread.step,
            {
                **numbers,
                **unread.noted,
                names.STEP_SECONDS: now - self._read_at,
            },
        )
        self._read_at = now
        return bool(unread.vote)

    def _not_finite(self, step: int, numbers: Mapping[str, float]) -> None:
        """Notes a step that the compiled step left without effect; raises NotFiniteError where that is not asked for,
        or happened too often in a row."""
        self._skipped_in_a_row += 1
        recovery = self._recovery
        what = f"the loss of step {step} is {numbers[names.LOSS]}, the norm of its gradient {numbers[names.GRAD_NORM]}"
        if recovery.on_nan == "skip" and self._skipped_in_a_row <= recovery.max_failures:
            log.warning("%s: its batch is left out (spec.recovery.onNaN is skip)", what)
            return
        self._report.trained(step, numbers)
        often = f" {self._skipped_in_a_row} times in a row" if self._skipped_in_a_row > 1 else ""
        last = self._checkpoints.last_committed_url
        raise NotFiniteError(
            f"{what[0].upper()}{what[1:]}: expected finite numbers{often}. Lower spec.optimizer.learningRate, lengthen "
            "spec.optimizer.warmup or use float32 (spec.trainer.mp). The last checkpoint from before it: "
            f"{last or 'none'}.",
            step,
        )

    def _evaluate(self, state: TrainState, trained: int) -> bool:
        """Evaluates, if there is something to evaluate on; False: all processes agreed to stop meanwhile."""
        if self._evaluation is None:
            return True
        self._read()
        self._report.phase(Phase.EVALUATING)
        total, sequences = 0.0, 0.0
        for loss, weight in self._evaluation.batches(state):
            total, sequences = total + loss, sequences + weight
            self._report.phase(Phase.EVALUATING)
            if self._life.should_stop():
                return False
        self.validation_loss = total / sequences
        self._report.evaluated(trained - 1, self.validation_loss)
        self._report.phase(Phase.TRAINING)
        self._read_at = time.perf_counter()
        return True

    def _save(self, state: TrainState, trained: int) -> None:
        """Begins a checkpoint; one that failed is reported, and training goes on."""
        self._read()  # what is not finite must not be saved
        began = time.perf_counter()
        self._report.phase(Phase.SAVING)
        try:
            self._checkpoints.save(trained, state, self._origin)
            self._saved_step = trained
        except NotSavedError as error:
            log.error("%s Training goes on; the next checkpoint is tried when it is due.", error)
        self._policy = self._policy.saved(time.time())
        self._report.noted(trained - 1, {names.CHECKPOINT_BLOCKED_SECONDS: time.perf_counter() - began})
        self._report.phase(Phase.TRAINING)
        self._read_at = time.perf_counter()

    def _save_for_good(self, state: TrainState, trained: int) -> None:
        """Sees to it that the state is committed before the run ends."""
        self._report.phase(Phase.SAVING)
        try:
            self._checkpoints.wait()
        except NotSavedError as error:
            log.error("%s", error)
            self._saved_step = None
        if self._saved_step != trained:
            self._checkpoints.save(trained, state, self._origin, block=True)
            self._saved_step = trained
        self._look_for_commit()

    def _look_for_commit(self) -> None:
        url, step = self._checkpoints.last_committed_url, self._checkpoints.last_committed
        if url is not None and step is not None:
            self._report.committed(url, step)


class Evaluation:
    """The losses of the validation set."""

    def __init__(self, run: Run, tokens: TokenCache):
        # In elastic mode a batch does not depend on the devices; elsewhere a device is given one microbatch of it.
        microbatches = 1 if run.plan.lanes is None else run.plan.accumulation_steps
        self._batch_size = microbatches * run.plan.eval_microbatch * run.plan.mesh.data
        self._seq_len = run.spec.model.seq_len
        self._batches = EvalBatches(
            tokens,
            seq_len=self._seq_len,
            batch_size=self._batch_size,
            max_batches=run.spec.trainer.max_eval_batches,
        )
        self._placement = BatchPlacement(run.settings.rules, self._batch_size, microbatches)
        self._eval_step = make_eval_step(run.settings)

    def batches(self, state: TrainState) -> Iterator[tuple[float, float]]:
        """Batch by batch, the sum over its sequences of their losses (nats a token), and how many they are."""
        last = self._batches.num_sequences - (len(self._batches) - 1) * self._batch_size
        for number in range(len(self._batches)):
            rows, weights = self._batches.rows(number, self._placement.rows)
            loss = self._eval_step(state.model, self._placement.place(rows), self._placement.place(weights))
            yield float(loss) / self._seq_len, last if number == len(self._batches) - 1 else self._batch_size


@dataclass(frozen=True)
class _Unread:
    """A step that the device is at work on."""

    step: int
    metrics: Mapping[str, Any]
    vote: jax.Array
    noted: Mapping[str, float]
    """Numbers that the loop itself took."""


def _timed(batches: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray, float]]:
    """Batches with the seconds that each was waited for."""
    iterator = iter(batches)
    while True:
        began = time.perf_counter()
        try:
            step, rows = next(iterator)
        except StopIteration:
            return
        yield step, rows, time.perf_counter() - began
