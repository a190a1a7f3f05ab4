"""How a stream of tokens is cut into training sequences, so that every token is predicted once.

Sequence i is tokens[i·S : i·S + S + 1]: its first S tokens are the input and its last S the targets.
Neighbours share one token, which is a target in one and the first input of the next.
"""

import numpy as np

from lateen_trainer.data.cache import TokenCache
from lateen_trainer.errors import UserError


def count_sequences(num_tokens: int, seq_len: int) -> int:
    """Sequences of `seq_len` targets in a stream. What is left at its end is less than a sequence."""
    return max(0, (num_tokens - 1) // seq_len)


def read_sequences(cache: TokenCache, indices: np.ndarray, seq_len: int) -> np.ndarray:
    """The sequences `indices`: int32 (indices, seq_len + 1)."""
    return cache.rows(indices * seq_len, seq_len + 1)


def check_enough(cache: TokenCache, seq_len: int, batch_size: int = 1) -> int:
    """The number of sequences in a cache, at least `batch_size`.

    Raises:
        UserError: there are fewer.
    """
    sequences = count_sequences(len(cache), seq_len)
    if sequences < batch_size:
        needed = batch_size * seq_len + 1
        what = f"one batch of {batch_size} sequences" if batch_size > 1 else "one sequence"
        smaller = "seqLen or spec.trainer.trainBatchSize" if batch_size > 1 else "seqLen"
        raise UserError(
            f"spec.data.{cache.split}Urls hold {len(cache):,} tokens in {cache.ledger.documents:,} "
            f"documents, which make {sequences:,} sequences of {seq_len:,} tokens (spec.model.seqLen): "
            f"expected at least {needed:,} tokens for {what}. Add files, or make {smaller} smaller."
        )
    return sequences
