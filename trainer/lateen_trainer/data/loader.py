"""Batches of token sequences, fetched ahead of the training loop."""

import queue
import threading
from collections.abc import Iterator

import numpy as np

from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.order import BatchOrder
from lateen_trainer.data.sequences import check_enough, count_sequences, read_sequences
from lateen_trainer.data.skips import Skips

Rows = slice | np.ndarray
"""Which rows of a global batch: those that this process's devices hold."""

NO_SKIPS = Skips()

POLL_SECONDS = 0.25
"""Between two looks for text that is not tokenised yet."""


class Loader:
    """The batches of training: any of them, at any time, from nothing but its step.

    Args:
        cache: the training tokens. Where it is not whole, the first window of them is there.
        batch_size: B, sequences in a step over all processes.
        seq_len: S, tokens of a sequence.
        seed: of the order.
        window: sequences that are shuffled together; None: all.
        skips: batches that are left out.

    Raises:
        UserError: the cache has not enough tokens for one batch.
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        batch_size: int,
        seq_len: int,
        seed: int,
        window: int | None = None,
        skips: Skips = NO_SKIPS,
    ):
        self.batch_size, self.seq_len, self._seed, self._window = batch_size, seq_len, seed, window
        self._cache = cache
        self._skips = skips
        self._order = BatchOrder(self._sequences(), batch_size, seed, window)

    @property
    def order(self) -> BatchOrder:
        """Which sequences are in which batch, as far as that is known."""
        if self._order.sequences.num_sequences is None and self._cache.is_whole:
            self._order = BatchOrder(self._sequences(), self.batch_size, self._seed, self._window)
        return self._order

    def batch(self, step: int) -> np.ndarray:
        """The global batch of a step: int32 (B, S + 1)."""
        return self.rows(step, slice(None))

    def rows(self, step: int, rows: Rows) -> np.ndarray:
        """Some rows of the global batch of a step, and no others are read: int32 (rows, S + 1)."""
        return read_sequences(self._cache, self.order.indices(self._skips.batch_of(step))[rows], self.seq_len)

    def ready_until(self, stop: int) -> int:
        """The first step whose batch cannot be read yet, or `stop`: looks for new parts of the cache.

        It does not depend on the rows: a window can be read when all of it is there.
        """
        if self._cache.is_whole or self._cache.look() or self._window is None:
            return stop if self._cache.is_whole else 0
        windows = count_sequences(self._cache.tokens_ready, self.seq_len) // self._window
        batches = windows * self._window // self.batch_size
        return min(stop, batches - sum(batch < batches for batch in self._skips.batches))

    def prefetch(self, start: int, stop: int, *, rows: Rows = slice(None), depth: int = 2) -> "Prefetcher":
        """The batches of the steps from `start` to before `stop`, read ahead by a thread, which waits for those that
        are not there yet."""
        return Prefetcher(self, start, stop, rows=rows, depth=depth)

    def _sequences(self) -> int | None:
        """Of the whole cache; None: not known yet."""
        return check_enough(self._cache, self.seq_len, self.batch_size) if self._cache.is_whole else None


class Prefetcher:
    """Iterates over (step, int32 (rows, S + 1)) while a thread reads up to `depth` batches ahead.

    Use it in a `with` statement, or call `close`. An error of the thread is raised where its batch would
    have come.
    """

    def __init__(self, loader: Loader, start: int, stop: int, *, rows: Rows, depth: int):
        self._loader = loader
        self._steps = range(start, stop)
        self._rows = rows
        self._queue: queue.Queue[tuple[int, np.ndarray] | BaseException | None] = queue.Queue(maxsize=depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="batch prefetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        return self

    def __next__(self) -> tuple[int, np.ndarray]:
        if self._closed.is_set():
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, BaseException):
            self.close()
            raise item
        if item is None:
            self.close()
            raise StopIteration
        return item

    def close(self) -> None:
        """Ends the thread, which finishes the batch that it is reading. May be called more than once."""
        self._closed.set()
        while self._thread.is_alive():
            # The thread may be waiting for room in the queue.
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(timeout=0.01)

    def _read(self) -> None:
        try:
            ready = self._steps.start
            for step in self._steps:
                while step >= ready:
                    ready = self._loader.ready_until(self._steps.stop)
                    if step >= ready and self._closed.wait(POLL_SECONDS):
                        return
                batch = self._loader.rows(step, self._rows)
                self._queue.put((step, batch))
                if self._closed.is_set():
                    return
        except BaseException as error:  # whatever it is, it belongs to the consumer
            self._queue.put(error)
        else:
            self._queue.put(None)
