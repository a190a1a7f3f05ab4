"""The sequences of a run by number: which source each comes from, and which of that source's own.

With one source, sequence k of the run is what the source's order has at position k. With several, the mixture says
whose turn it is, and how many of the source's own came before.
"""

import functools
from collections.abc import Mapping

import numpy as np

from lateen_trainer.data.batch import Batch
from lateen_trainer.data.mixture import Mixture
from lateen_trainer.data.order import SequenceOrder
from lateen_trainer.data.sequence_sources import SequenceSource, check_enough


class RunSequences:
    """Sequences of a run. Safe to use from several threads at once.

    Args:
        sources: by name; the only one of a run without a mixture has none.
        seed: of the sources' orders.
        window: sequences of a source that are shuffled together; None: all.
        mixture: of several sources; None: there is one.
        least: sequences that a source has at least.
    """

    def __init__(
        self,
        sources: Mapping[str, SequenceSource],
        seed: int,
        window: int | None = None,
        mixture: Mixture | None = None,
        least: int = 1,
    ):
        self._names = tuple(sources) if mixture is None else mixture.names
        self._sources, self._mixture = sources, mixture
        self._seed, self._window, self._least = seed, window, least
        self._orders: dict[str, SequenceOrder] = {}
        self._has_counted = any(source.cache.has_counted for source in sources.values())
        self._reach = functools.lru_cache(maxsize=4)(self._compute_reach)
        self.waits_for: str | None = None
        """The source whose text the last look has found missing."""

    def look(self, stop: int) -> int:
        """How many sequences of the run, from the first one on, can be read, up to `stop`.

        Looks for new parts of the cache that the next sequence comes from, and of no other: of many sources one at a
        time is what the run waits for.

        Raises:
            DataError: the cache is damaged.
            TrainerError: the storage cannot be read.
            UserError: the cache is whole now, and has too few sequences.
        """
        while (ready := self._reach(self._available(), stop)) < stop:
            name = self._names[int(self._locate(np.array([ready]))[0][0])]
            source = self._sources[name]
            before = source.cache.tokens_ready
            if source.cache.look():
                check_enough(source, self._least)
            elif source.cache.tokens_ready == before:
                self.waits_for = name
                return ready
        self.waits_for = None
        return stop

    def _available(self) -> tuple[int | None, ...]:
        """Sequences of each source that can be read, which are those of whole windows; None: any."""
        return tuple(map(self._available_of, (self._sources[name] for name in self._names)))

    def _available_of(self, source: SequenceSource) -> int | None:
        if source.cache.is_whole:
            return None
        return 0 if self._window is None else source.ready // self._window * self._window

    def _compute_reach(self, available: tuple[int | None, ...], stop: int) -> int:
        if self._mixture is not None:
            return self._mixture.reach(available, stop)
        return stop if available[0] is None else min(stop, available[0])

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
