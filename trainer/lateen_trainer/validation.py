"""The losses of the validation set, batch by batch."""

from collections.abc import Iterator

from lateen_trainer.data.batch import Batch
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.evaluation import EvalBatches
from lateen_trainer.run import Run
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import TrainState
from lateen_trainer.step.train_step import make_eval_step


class Evaluation:
    """The losses of the validation set."""

    def __init__(self, run: Run, tokens: TokenCache):
        # In elastic mode a batch does not depend on the devices; elsewhere a device is given one microbatch of it.
        microbatches = 1 if run.plan.lanes is None else run.plan.accumulation_steps
        self._run = run
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

    def batches(self, state: TrainState) -> Iterator[tuple[float, int]]:
        """Batch by batch, the sum of the losses of its counted tokens in nats, and their number."""
        model = self._run.evaluated(state)
        last = self._batches.num_sequences - (len(self._batches) - 1) * self._batch_size
        for number in range(len(self._batches)):
            rows, weights = self._batches.rows(number, self._placement.rows)
            batch, real = self._placement.place((Batch(rows), weights))
            loss, counted = self._eval_step(model, batch, real)
            sequences = last if number == len(self._batches) - 1 else self._batch_size
            yield float(loss), sequences * self._seq_len if counted is None else int(counted)
