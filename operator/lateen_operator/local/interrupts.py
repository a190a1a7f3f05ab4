"""Signals as something to wait for: children that end, and users who want to stop."""

import math
import os
import select
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Self

_ASKS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# Wrappers such as `timeout` and `uv run` pass a signal on that the terminal has sent already: the two come
# within milliseconds and are one wish.
SAME_WISH_SECONDS = 0.5


class Interrupts:
    """While entered, SIGINT, SIGTERM and SIGHUP are counted and end nothing. Main thread only.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_at = -math.inf
        self.requests: list[signal.Signals] = []
        """The signals that asked to stop, in order."""

    def __enter__(self) -> Self:
        # Python writes a byte into the pipe for every signal, so that `wait` returns at once.
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before = {signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda number, frame: None)}
        for number in _ASKS:
            # A signal that is ignored from outside (SIGHUP under nohup) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> None:
        """Returns after this time, or as soon as a signal arrives."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if ready:
            os.read(self._reader, 4096)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = self._clock()
        if now - self._last_at >= SAME_WISH_SECONDS:
            self._last_at = now
            self.requests.append(signal.Signals(number))
