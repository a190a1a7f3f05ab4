"""The sequences of each step of a job with one source, stated apart from the loader."""

import numpy as np
from lateen_trainer.data.order import SequenceOrder


class BatchOrder:
    """Item k of the run is row k mod batch_size of step k // batch_size.

    Args:
        num_sequences: sequences of the data set; None: not known yet (see `SequenceOrder`).
        batch_size: sequences in a step.
        seed: another seed gives another order.
        window: sequences that are permuted together; None: all.
    """

    def __init__(self, num_sequences: int | None, batch_size: int, seed: int, window: int | None = None):
        if (num_sequences is not None and num_sequences < 1) or batch_size < 1:
            raise ValueError(f"{num_sequences} sequences in batches of {batch_size}: expected at least 1 of each")
        self.batch_size = batch_size
        self.sequences = SequenceOrder(num_sequences, seed, window)

    def indices(self, step: int) -> np.ndarray:
        """The sequences of a step: int64 (batch_size,). In one epoch no sequence comes twice."""
        return self.sequences.indices(self.positions(step))

    def positions(self, step: int) -> np.ndarray:
        """The positions of a step's sequences in the run: int64 (batch_size,)."""
        if step < 0:
            raise ValueError(f"step {step}: expected 0 or more")
        return np.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=np.int64)
