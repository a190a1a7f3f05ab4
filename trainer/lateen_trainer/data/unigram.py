"""The entropy of single tokens: the loss of a model that knows how often each occurs and nothing else."""

from collections.abc import Iterable

import numpy as np


def unigram_entropy(blocks: Iterable[np.ndarray]) -> float:
    """Entropy of the frequencies of tokens, in nats per token.

    Args:
        blocks: arrays of token ids, as `TokenCache.blocks` gives them. Together at least one token.
    """
    counts = np.zeros(0, np.int64)
    for block in blocks:
        more = np.bincount(block.ravel(), minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    total = counts.sum()
    if total == 0:
        raise ValueError("the entropy of no tokens is not defined")
    frequencies = counts[counts > 0] / total
    return float(-(frequencies * np.log(frequencies)).sum())
