"""The losses of the validation sets, batch by batch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lateen_trainer.data.evaluation import EvalBatches
from lateen_trainer.data.sequence_sources import SequenceSource
from lateen_trainer.run import Run
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import TrainState
from lateen_trainer.step.train_step import make_eval_step


@dataclass(frozen=True)
class Losses:
    """The sum of the losses of some tokens in nats, and their number."""

    total: float = 0.0
    tokens: int = 0

    def added(self, total: float, tokens: int) -> "Losses":
        """With those of further tokens."""
        return Losses(self.total + total, self.tokens + tokens)

    def __add__(self, other: "Losses") -> "Losses":
        return self.added(other.total, other.tokens)

    @property
    def mean(self) -> float:
        """Nats per token; 0 where no token counts."""
        return self.total / max(1, self.tokens)


class Evaluation:
    """The losses of the validation sets.

    Args:
        run: the run.
        sources: the sets by name.
    """

    def __init__(self, run: Run, sources: Mapping[str, SequenceSource]):
        # In elastic mode a batch does not depend on the devices; elsewhere a device is given one microbatch of it.
        microbatches = 1 if run.plan.lanes is None else run.plan.accumulation_steps
        self._run = run
        self._batch_size = microbatches * run.plan.eval_microbatch * run.plan.mesh.data
        self._sets = {
            name: EvalBatches(source, batch_size=self._batch_size, max_batches=run.spec.trainer.max_eval_batches)
            for name, source in sources.items()
        }
        self._placement = BatchPlacement(run.settings.rules, self._batch_size, microbatches)
        self._eval_step = make_eval_step(run.settings)

    def batches(self, state: TrainState) -> Iterator[tuple[str, float, int]]:
        """Batch by batch, the set's name, the sum of the losses of counted tokens in nats, and their number."""
        model = self._run.evaluated(state)
        for name, batches in self._sets.items():
            for number in range(len(batches)):
                batch, real = self._placement.place(batches.rows(number, self._placement.rows))
                loss, counted = self._eval_step(model, batch, real)
                tokens = batches.size(number) * self._run.spec.model.seq_len if counted is None else int(counted)
                yield name, float(loss), tokens
