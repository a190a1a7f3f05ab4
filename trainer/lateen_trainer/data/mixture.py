"""Which source gives sequence k of a run, and which of its sequences: a pure function of (weights, seed, k).

Sequences come in blocks. How many of a block come from each source is fixed, and carried on from block to block:
behind every block the sequences of a source are its share of all so far, rounded up or down. Inside a block the sources
are permuted by a keyed bijection (`order.Permutation`). Each source counts its own sequences, so that it has epochs and
an order of its own.

Counts of a source that is due less than once per block would rise and fall again if they were rounded at each block by
itself. So they are rounded where every source is due at least once, behind groups of 2^h blocks, where rounding never
lets them fall, and a group's counts are halved down to those of its blocks, h times. Inside such a group a count may be
one off from the rounded share. No step needs a walk over the blocks before it.
"""

import functools
import itertools
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from lateen_api.apportionment import apportion, apportion_between, shares

from lateen_trainer.data.order import Permutation

BLOCK = 2048
"""Sequences of a block."""


@dataclass(frozen=True)
class Stage:
    """Weights that hold from a sequence of the run on."""

    start: int
    """The first sequence."""

    weights: Mapping[str, float]
    """By name of the source; they need not add up to 1. A source without one, or with 0, gives nothing."""


class Mixture:
    """The sources of a run's sequences.

    Args:
        names: of the sources, whose numbers are their places in here.
        stages: in ascending order; the first begins at sequence 0.
        seed: another seed permutes blocks in another way; counts stay the same.
        block: sequences of a block, a power of two.

    Raises:
        ValueError: there is no stage at 0, stages are not in order, or a stage has no weight above 0.
    """

    def __init__(self, names: Sequence[str], stages: Sequence[Stage], seed: int, block: int = BLOCK):
        starts = [stage.start for stage in stages]
        if not starts or starts[0] != 0 or any(a >= b for a, b in itertools.pairwise(starts)):
            raise ValueError(f"stages that begin at sequences {starts}: expected 0 first, then ascending numbers")
        self.names = tuple(names)
        self._starts = np.array(starts, np.int64)
        self._stages = [
            _StageOrder(shares(self.names, stage.weights), f"lateen mixture: seed {seed}, stage {number}", block)
            for number, stage in enumerate(stages)
        ]
        self._begins = [np.zeros(len(self.names), np.int64)]
        for order, (start, end) in zip(self._stages, itertools.pairwise(starts), strict=False):
            self._begins.append(self._begins[-1] + order.counts(end - start))

    def locate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where sequences of the run come from.

        Args:
            sequences: [n] their numbers in the run, from 0.

        Returns:
            [n] numbers of their sources, and [n] int64 positions in these, which count on over epochs.
        """
        sequences = np.asarray(sequences, np.int64)
        stages = np.searchsorted(self._starts, sequences, side="right") - 1
        sources, positions = np.empty_like(sequences), np.empty_like(sequences)
        for stage in np.unique(stages).tolist():
            chosen = stages == stage
            found, within = self._stages[stage].locate(sequences[chosen] - self._starts[stage])
            sources[chosen], positions[chosen] = found, within + self._begins[stage][found]
        return sources, positions

    def counts(self, sequences: int) -> dict[str, int]:
        """How many of the first `sequences` of the run come from each source."""
        stage = int(np.searchsorted(self._starts, sequences, side="right")) - 1
        counts = self._begins[stage] + self._stages[stage].counts(sequences - int(self._starts[stage]))
        return dict(zip(self.names, counts.tolist(), strict=True))

    def reach(self, available: Sequence[int | None], stop: int) -> int:
        """How many sequences of the run, from the first one on, can be read.

        Args:
            available: how many sequences of each source can be read, by its number; None: all that it is asked for.
            stop: the most that the result is.
        """

        def lacks(sequences: int) -> bool:
            counts = self.counts(sequences).values()
            return any(have is not None and count > have for count, have in zip(counts, available, strict=True))

        return bisect_left(range(1, stop + 1), True, key=lacks)


class _StageOrder:
    """The sources of the sequences of a stage, which are counted from 0."""

    def __init__(self, parts: list[Fraction], key: str, block: int):
        self._shares, self._key, self._block = parts, key, block
        least = min(part for part in parts if part > 0)
        self._halvings = 0
        """h: each source is due in 2^h blocks at least once."""
        while least * block * (1 << self._halvings) < 1:
            self._halvings += 1
        self._block_at = functools.lru_cache(maxsize=16)(self._lay_block)

    def locate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sources [n] and positions in them [n] of sequences [n]."""
        blocks, within = np.divmod(sequences, self._block)
        sources, positions = np.empty_like(sequences), np.empty_like(sequences)
        for block in np.unique(blocks).tolist():
            chosen = blocks == block
            of_block, ranks = self._block_at(block)
            sources[chosen], positions[chosen] = of_block[within[chosen]], ranks[within[chosen]]
        return sources, positions

    def counts(self, sequences: int) -> np.ndarray:
        """How many of the first `sequences` come from each source: int64 [sources]."""
        block, within = divmod(sequences, self._block)
        before = np.array(self._counts_before(block), np.int64)
        return before + np.bincount(self._block_at(block)[0][:within], minlength=len(before)) if within else before

    def _lay_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each sequence of a block the source and the position in it: int64 [block] each."""
        before = np.array(self._counts_before(block), np.int64)
        counts = np.array(self._counts_before(block + 1), np.int64) - before
        permutation = Permutation(self._block, f"{self._key}, block {block}")
        sources = np.repeat(np.arange(len(counts)), counts)[permutation(np.arange(self._block))]
        in_turn = np.argsort(sources, kind="stable")
        positions = np.empty(self._block, np.int64)
        positions[in_turn] = np.arange(self._block) - np.repeat(np.cumsum(counts) - counts, counts)
        return sources, positions + before[sources]

    def _counts_before(self, block: int) -> list[int]:
        """Sequences of each source before a block."""
        group, within = divmod(block, 1 << self._halvings)
        low, high = (self._rounded((group + i) << self._halvings) for i in (0, 1))
        start, size = group << self._halvings, 1 << self._halvings
        while within:  # the block lies inside of the blocks from start to start + size
            size //= 2
            middle = self._between(low, high, start + size)
            if within >= size:
                low, start, within = middle, start + size, within - size
            else:
                high = middle
        return low

    def _rounded(self, block: int) -> list[int]:
        """The shares of all sequences before a block, rounded by the largest remainder."""
        return apportion(self._shares, block * self._block)

    def _between(self, low: list[int], high: list[int], block: int) -> list[int]:
        """The same between counts that are given behind an earlier and a later block, so that none falls."""
        return apportion_between(self._shares, block * self._block, low, high)
