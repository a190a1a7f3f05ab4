"""The queue that wakes jobs up: each key at most once in it, and at most one worker at a key.

A key that is put while it waits is there once; one that is put while a worker has it comes again when the worker is
done. A key put for later keeps the soonest of its times. Nothing about why it was woken is kept: a worker looks at
the whole job.
"""

import asyncio
import heapq
import math
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_LONGEST_SECONDS = 60.0


class WorkQueue(Generic[Key]):
    """Keys that wait for a worker.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._ready: dict[Key, None] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._entries = 0
        self._processing: dict[Key, float] = {}
        self._dirty: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Keys that could be taken now."""
        return len(self._ready)

    @property
    def busy(self) -> int:
        """Keys that could be taken now, or that a worker has."""
        return len(self._ready) + len(self._processing)

    @property
    def longest_processing(self) -> float:
        """Seconds since which the slowest worker has had its key; 0: none has one."""
        return self._clock() - min(self._processing.values()) if self._processing else 0.0

    def put(self, key: Key) -> None:
        """The key is taken as soon as a worker is free."""
        self.put_at(key, -math.inf)

    def put_after(self, key: Key, seconds: float) -> None:
        """The key is taken in so many seconds, or sooner if it was put for sooner. Infinity: not at all."""
        if seconds <= 0:
            self.put(key)
        elif math.isfinite(seconds):
            self.put_at(key, self._clock() + seconds)

    def put_at(self, key: Key, at: float) -> None:
        """As `put_after`, by the queue's clock."""
        if key in self._processing:
            self._dirty[key] = min(at, self._dirty.get(key, math.inf))
        elif key in self._ready:
            return
        elif at <= self._clock():
            self._due.pop(key, None)
            self._ready[key] = None
            self._news.set()
        elif at < self._due.get(key, math.inf):
            self._due[key] = at
            self._entries += 1
            heapq.heappush(self._heap, (at, self._entries, key))
            self._news.set()

    async def get(self) -> Key:
        """The next key; the worker that takes it calls `done` or `put_backoff`."""
        while True:
            self._wake_due()
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                self._processing[key] = self._clock()
                if self._ready:
                    self._news.set()
                return key
            self._news.clear()
            timeout = self._heap[0][0] - self._clock() if self._heap else None
            try:
                await asyncio.wait_for(self._news.wait(), timeout)
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """The worker has finished: resets the key's back-off."""
        self._failures.pop(key, None)
        self._give_back(key)

    def failures(self, key: Key) -> int:
        """How often in a row the worker has failed at the key."""
        return self._failures.get(key, 0)

    def put_backoff(self, key: Key, longest: float = BACKOFF_LONGEST_SECONDS) -> float:
        """The worker failed; the key comes again after 0.5 s, 1 s, 2 s, … up to `longest`. Returns that time.

        News of the job in between do not wait for it: what failed may be over by them.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded too: 2.0 ** 1024 overflows.
        delay = min(longest, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 16))
        again = self._dirty.pop(key, math.inf)
        self._processing.pop(key, None)
        # Not at once, however loud the news: a job that fails at every look would take a worker for itself.
        self.put_at(key, max(again, self._clock() + min(delay, BACKOFF_FIRST_SECONDS)))
        self.put_at(key, self._clock() + delay)
        return delay

    def forget(self, key: Key) -> None:
        """The key's job is gone: it comes no more by itself."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def _give_back(self, key: Key) -> None:
        self._processing.pop(key, None)
        again = self._dirty.pop(key, None)
        if again is not None:
            self.put_at(key, again)

    def _wake_due(self) -> None:
        now = self._clock()
        while self._heap and (self._heap[0][0] <= now or self._due.get(self._heap[0][2]) != self._heap[0][0]):
            at, _, key = heapq.heappop(self._heap)
            # Entries that a sooner one replaced, or whose key was taken since, are left in the heap until their time.
            if self._due.get(key) == at:
                del self._due[key]
                self._ready[key] = None
