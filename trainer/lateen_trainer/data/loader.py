"""Batches of token sequences, fetched ahead of the training loop."""

import queue
import threading
from collections.abc import Iterator

import numpy as np

from lateen_trainer.data.batch import Batch
from lateen_trainer.data.run_sequences import RunSequences
from lateen_trainer.data.skips import Skips

Rows = slice | np.ndarray
"""Which rows of a global batch: those that this process's devices hold."""

NO_SKIPS = Skips()

POLL_SECONDS = 0.25
"""Between two looks for text that is not tokenised yet."""


class Loader:
    """The batches of training: any of them, at any time, from nothing but its step.

    Args:
        sequences: of the run.
        batch_size: B, sequences in a step over all processes.
        skips: batches that are left out.
    """

    def __init__(self, sequences: RunSequences, *, batch_size: int, skips: Skips = NO_SKIPS):
        self._sequences, self._batch_size, self._skips = sequences, batch_size, skips

    def batch(self, step: int) -> Batch:
        """The global batch of a step as arrays [B, S + 1]."""
        return self.rows(step, slice(None))

    def rows(self, step: int, rows: Rows) -> Batch:
        """Some rows of the global batch of a step, and no others are read: arrays [rows, S + 1]."""
        return self._sequences.read(self.numbers(step)[rows])

    def numbers(self, step: int) -> np.ndarray:
        """The sequences of the run that form the batch of a step: int64 [B]."""
        first = self._skips.batch_of(step) * self._batch_size
        return np.arange(first, first + self._batch_size, dtype=np.int64)

    def ready_until(self, stop: int) -> int:
        """The first step whose batch cannot be read yet, or `stop`: looks for new parts of the caches.

        It does not depend on the rows: a window can be read when all of it is there.
        """
        wanted = self._skips.batch_of(stop - 1) + 1
        batches = self._sequences.look(wanted * self._batch_size) // self._batch_size
        return min(stop, batches - sum(batch < batches for batch in self._skips.batches))

    @property
    def waits_for(self) -> str | None:
        """The source whose text the last look has found missing."""
        return self._sequences.waits_for

    def prefetch(self, start: int, stop: int, *, rows: Rows = slice(None), depth: int = 2) -> "Prefetcher":
        """The batches of the steps from `start` to before `stop`, read ahead by a thread, which waits for those that
        are not there yet."""
        return Prefetcher(self, start, stop, rows=rows, depth=depth)


class Prefetcher:
    """Iterates over (step, arrays [rows, S + 1]) while a thread reads up to `depth` batches ahead.

    Use it in a `with` statement, or call `close`. An error of the thread is raised where its batch would
    have come.
    """

    def __init__(self, loader: Loader, start: int, stop: int, *, rows: Rows, depth: int):
        self._loader = loader
        self._steps = range(start, stop)
        self._rows = rows
        self._queue: queue.Queue[tuple[int, Batch] | BaseException | None] = queue.Queue(maxsize=depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="batch prefetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        return self

    def __next__(self) -> tuple[int, Batch]:
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
