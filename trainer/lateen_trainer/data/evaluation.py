"""Batches of the validation set: always the same ones, in the same order."""

from collections.abc import Iterator

import numpy as np

from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.loader import Rows
from lateen_trainer.data.sequences import check_enough, read_sequences


class EvalBatches:
    """The validation set in its own order, each sequence once.

    The last batch is filled up with copies of its first sequence, which the mask takes out. `len` is the
    number of batches. What is left behind the last whole sequence is not evaluated.

    Args:
        cache: the validation tokens.
        seq_len: S, tokens of a sequence.
        batch_size: B, sequences in a batch over all processes.
        max_batches: at most so many batches; None: all.

    Raises:
        UserError: the cache has not enough tokens for one sequence.
    """

    def __init__(self, cache: TokenCache, *, seq_len: int, batch_size: int, max_batches: int | None = None):
        sequences = check_enough(cache, seq_len)
        batches = -(-sequences // batch_size)
        self._batches = batches if max_batches is None else min(batches, max_batches)
        self.num_sequences = min(sequences, self._batches * batch_size)
        self._cache = cache
        self._seq_len = seq_len
        self._batch_size = batch_size

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields tokens int32 (B, S + 1) and mask float32 (B,): 1 for a sequence, 0 for filling."""
        return (self.rows(number, slice(None)) for number in range(len(self)))

    def rows(self, number: int, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Some rows of batch `number`, and no others are read: int32 (rows, S + 1) and float32 (rows,)."""
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of {len(self)}")
        first = number * self._batch_size
        indices = (first + np.arange(self._batch_size, dtype=np.int64))[rows]
        real = indices < self.num_sequences
        tokens = read_sequences(self._cache, np.where(real, indices, first), self._seq_len)
        return tokens, real.astype(np.float32)
