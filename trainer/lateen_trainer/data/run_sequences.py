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
        sources: by name; the only one of a run without a mixture has none.
        seed: of the sources' orders.
        window: sequences of a source that are shuffled together; None: all.
        mixture: of several sources, whose caches must be whole; None: there is one.
    """

    def __init__(
        self,
        sources: Mapping[str, SequenceSource],
        seed: int,
        window: int | None = None,
        mixture: Mixture | None = None,
    ):
        self._names = tuple(sources) if mixture is None else mixture.names
        self._sources, self._mixture = sources, mixture
        self._seed, self._window = seed, window
        self._orders: dict[str, SequenceOrder] = {}
        self._has_counted = any(source.cache.header.has_counted for source in sources.values())

    def look(self) -> int | None:
        """Sequences of the run from the first one on that can be read; None: any of them. Looks for new parts of the
        caches."""
        if all(source.cache.is_whole or source.cache.look() for source in self._sources.values()):
            return None
        if self._window is None or self._mixture is not None:
            return 0
        return self._sources[self._names[0]].ready // self._window * self._window

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
            batch = self._sources[name].read(self._order_of(name).indices(positions[chosen]))
            if self._has_counted and batch.counted is None:  # text beside conversations
                batch = batch._replace(counted=np.ones(batch.tokens.shape, np.uint8))
            parts.append((chosen, batch))
        return _interleaved(len(numbers), parts)

    def _order_of(self, name: str) -> SequenceOrder:
        """The order of a source, as far as it is known."""
        order, source = self._orders.get(name), self._sources[name]
        if order is None or (order.num_sequences is None and source.cache.is_whole):
            count = source.ready if source.cache.is_whole else None
            order = self._orders[name] = SequenceOrder(count, self._seed, self._window, key=name)
        return order

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
