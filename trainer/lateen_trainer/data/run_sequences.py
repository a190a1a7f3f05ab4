"""The sequences of a run by number: which source each comes from, and which of that source's own.

With one source, sequence k of the run is what the source's order has at position k. With several, the mixture says
whose turn it is, and how many of the source's own came before.
"""

from collections.abc import Mapping

import numpy as np

from lateen_trainer.data.batch import Batch
from lateen_trainer.data.mixture import Mixture
from lateen_trainer.data.order import SequenceOrder
from lateen_trainer.data.sequence_sources import SequenceSource


class RunSequences:
    """Sequences of a run. Safe to use from several threads at once.

    Args:
        sources: by name.
        orders: of the sources' sequences, by name.
        mixture: of several sources; None: there is one.
    """

    def __init__(
        self,
        sources: Mapping[str, SequenceSource],
        orders: Mapping[str, SequenceOrder],
        mixture: Mixture | None = None,
    ):
        self._names = tuple(sources) if mixture is None else mixture.names
        self._sources, self._orders, self._mixture = sources, orders, mixture
        self._has_counted = any(source.cache.header.has_counted for source in sources.values())

    @staticmethod
    def of_one(source: SequenceSource, seed: int, window: int | None = None) -> "RunSequences":
        """Those of a run without a mixture."""
        count = source.ready if source.cache.is_whole else None
        return RunSequences({"": source}, {"": SequenceOrder(count, seed, window)})

    def read(self, numbers: np.ndarray) -> Batch:
        """The sequences `numbers` of the run as arrays [numbers, S + 1].

        All batches of a run have the same arrays, so that one program takes them.

        Raises:
            DataError: a cache is damaged.
            IndexError: a sequence is not there (yet).
        """
        origins, positions = self._locate(numbers)
        parts = []
        for origin in np.unique(origins).tolist():
            chosen = origins == origin
            name = self._names[origin]
            batch = self._sources[name].read(self._orders[name].indices(positions[chosen]))
            if self._has_counted and batch.counted is None:  # text beside conversations
                batch = batch._replace(counted=np.ones(batch.tokens.shape, np.uint8))
            parts.append((chosen, batch))
        return _interleaved(len(numbers), parts)

    def _locate(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the sources, and positions in their orders."""
        if self._mixture is None:
            return np.zeros_like(numbers), numbers
        return self._mixture.locate(numbers)


def _interleaved(count: int, parts: list[tuple[np.ndarray, Batch]]) -> Batch:
    """One batch of the sequences of several sources, each with the rows that they have in it."""
    if len(parts) == 1:
        return parts[0][1]
    arrays = []
    for of_parts in zip(*(batch for _, batch in parts), strict=True):
        if of_parts[0] is None:
            arrays.append(None)
            continue
        whole = np.empty((count, *of_parts[0].shape[1:]), of_parts[0].dtype)
        for (rows, _), array in zip(parts, of_parts, strict=True):
            whole[rows] = array
        arrays.append(whole)
    return Batch(*arrays)
