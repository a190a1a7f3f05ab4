"""Batches of the validation set: always the same ones, in the same order."""

from collections.abc import Iterator

import numpy as np

from lateen_trainer.data.batch import Batch
from lateen_trainer.data.loader import Rows
from lateen_trainer.data.sequence_sources import SequenceSource, check_enough


class EvalBatches:
    """The validation set in its own order, each sequence once.

    The last batch is filled up with copies of its first sequence, which the mask takes out. `len` is the
    number of batches. What is left behind the last whole sequence is not evaluated.

    Args:
        source: the validation tokens.
        batch_size: B, sequences in a batch over all processes.
        max_batches: at most so many batches; None: all.

    Raises:
        UserError: the source has not enough tokens for one sequence.
    """

    def __init__(self, source: SequenceSource, *, batch_size: int, max_batches: int | None = None):
        sequences = check_enough(source)
        batches = -(-sequences // batch_size)
        self._batches = batches if max_batches is None else min(batches, max_batches)
        self.num_sequences = min(sequences, self._batches * batch_size)
        self._source = source
        self._batch_size = batch_size

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[tuple[Batch, np.ndarray]]:
        """Yields arrays [B, S + 1] and mask float32 (B,): 1 for a sequence, 0 for filling."""
        return (self.rows(number, slice(None)) for number in range(len(self)))

    def size(self, number: int) -> int:
        """Sequences of batch `number` without filling."""
        return min(self._batch_size, self.num_sequences - number * self._batch_size)

    def rows(self, number: int, rows: Rows) -> tuple[Batch, np.ndarray]:
        """Some rows of batch `number`, and no others are read: arrays [rows, S + 1] and float32 (rows,)."""
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of {len(self)}")
        first = number * self._batch_size
        indices = (first + np.arange(self._batch_size, dtype=np.int64))[rows]
        real = indices < self.num_sequences
        return self._source.read(np.where(real, indices, first)), real.astype(np.float32)
