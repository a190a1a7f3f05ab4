"""Polls the progress of process 0 of every running attempt.

One poll every few seconds is enough for a person and for the detection of a hang. With many jobs the polls come
farther apart, so that their number per second stays bounded, whatever the number of jobs.
"""

import asyncio
import heapq
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from lateen_api.progress import Progress

from lateen_operator.cluster.client import Client
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.progress_history import ProgressHistory

TIMEOUT_SECONDS = 3.0
MAX_POLLS_PER_SECOND = 15.0
AT_ONCE = 32
_JITTER = 0.2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trainer:
    """Process 0 of an attempt."""

    attempt: int
    pod: str
    ip: str | None


class FetchProgress(Protocol):
    """Fetches a trainer's /progress.

    Raises:
        aiohttp.ClientError, TimeoutError, ValueError: it does not answer, or not with a progress.
    """

    async def __call__(self, key: Key, trainer: Trainer) -> bytes: ...


@dataclass
class _Watched:
    trainer: Trainer
    history: ProgressHistory
    due: float
    task: asyncio.Task[None] | None = None


@dataclass
class Poller:
    """Polls until it is cancelled.

    Args:
        fetch: fetches a progress report.
        wake: called with a job whose progress changed.
        clock: seconds since the epoch.
        metrics: counts the polls.
        seconds: between two polls of a trainer, when there are few.
        rng: spreads the polls.
    """

    fetch: FetchProgress
    wake: Callable[[Key], None]
    clock: Callable[[], float]
    metrics: Metrics
    seconds: float
    rng: random.Random
    _watched: dict[Key, _Watched] = field(default_factory=dict)
    _heap: list[tuple[float, Key]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self, key: Key, trainer: Trainer) -> None:
        """Starts polling this trainer."""
        known = self._watched.get(key)
        if known is not None and known.trainer == trainer:
            return
        if known is not None and known.trainer.attempt == trainer.attempt:
            known.trainer = trainer
            return
        self.forget(key)
        now = self.clock()
        self._watched[key] = _Watched(trainer, ProgressHistory(trainer.attempt, silent_since=now), now)
        heapq.heappush(self._heap, (now, key))
        self._news.set()

    def forget(self, key: Key) -> None:
        """Stops polling the trainer of this job."""
        known = self._watched.pop(key, None)
        if known is not None and known.task is not None:
            known.task.cancel()

    def history(self, key: Key) -> ProgressHistory | None:
        """The polls of process 0 of the job; None: it is not polled."""
        known = self._watched.get(key)
        return known.history if known else None

    async def run(self) -> None:
        """Polls until it is cancelled."""
        free = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                key, watched = await self._next()
                await free.acquire()
                if self._watched.get(key) is not watched:
                    free.release()
                    continue
                watched.task = tasks.create_task(self._poll(key, watched))
                watched.task.add_done_callback(lambda _: free.release())

    async def _next(self) -> tuple[Key, _Watched]:
        while True:
            while self._heap and self._heap[0][0] <= self.clock():
                due, key = heapq.heappop(self._heap)
                watched = self._watched.get(key)
                # Another trainer of the job, or none, may be due at another time by now.
                if watched is not None and watched.due == due:
                    return key, watched
            self._news.clear()
            wait = max(0.0, self._heap[0][0] - self.clock()) if self._heap else None
            try:
                await asyncio.wait_for(self._news.wait(), wait)
            except TimeoutError:
                continue

    async def _poll(self, key: Key, watched: _Watched) -> None:
        progress = await self._fetch_progress(key, watched.trainer)
        if self._watched.get(key) is not watched:
            return
        before, now = watched.history, self.clock()
        watched.history = before.after(progress, now)
        watched.due = now + self._interval()
        heapq.heappush(self._heap, (watched.due, key))
        self._news.set()
        if watched.history != before:
            self.wake(key)

    async def _fetch_progress(self, key: Key, trainer: Trainer) -> Progress | None:
        try:
            progress = Progress.model_validate_json(await self.fetch(key, trainer))
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            self.metrics.polls.labels("none").inc()
            log.debug("%s: process 0 (%s) does not answer: %r", key, trainer.pod, error)
            return None
        self.metrics.polls.labels("progress").inc()
        return progress

    def _interval(self) -> float:
        least = max(self.seconds, len(self._watched) / MAX_POLLS_PER_SECOND)
        return least * (1 + _JITTER * (2 * self.rng.random() - 1))


def fetch_by_address(session: aiohttp.ClientSession, port: int) -> FetchProgress:
    """Polls pods at their own addresses: from within the cluster.

    Args:
        session: without credentials.
        port: of the trainers.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)

    async def fetch(key: Key, trainer: Trainer) -> bytes:
        host = f"[{trainer.ip}]" if trainer.ip and ":" in trainer.ip else trainer.ip
        async with session.get(f"http://{host}:{port}/progress", timeout=timeout) as response:
            return _good(response.status, await response.read())

    return fetch


def fetch_through_server(client: Client, port: int) -> FetchProgress:
    """Polls pods through the API server's proxy: from outside the cluster."""

    async def fetch(key: Key, trainer: Trainer) -> bytes:
        status, text = await client.proxy(key.namespace, trainer.pod, port, "/progress", TIMEOUT_SECONDS)
        return _good(status, text)

    return fetch


def _good(status: int, text: bytes) -> bytes:
    if status != 200:
        raise ValueError(f"status {status}: {text[:100]!r}")
    return text
