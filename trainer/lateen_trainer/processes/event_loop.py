"""The thread that listens for the process: to signals, to peers and to the clock.

It is one loop, so what it runs needs no locks. It goes on while the main thread sits in XLA for a minute,
when Python's own signal handlers would have to wait: signals come through `signal.set_wakeup_fd`, which C
writes to.
"""

import contextlib
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

ASLEEP_AFTER = 5
"""So many intervals late, the process itself must have been asleep."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Readable(Protocol):
    """What a selector can wait for."""

    def fileno(self) -> int:
        """Its file descriptor."""
        ...


class Watch:
    """The thread. Its callbacks run in it, one at a time.

    Args:
        on_signal: SIGTERM or SIGINT arrived.
        on_tick: called every `interval` seconds; the argument says whether the process was asleep in between.
        on_error: a callback raised; the thread is over.
    """

    interval = 1.0

    def __init__(
        self, *, on_signal: Callable[[int], None], on_tick: Callable[[bool], None],
        on_error: Callable[[BaseException], None],
    ):  # fmt: skip
        self._on_signal = on_signal
        self._on_tick = on_tick
        self._on_error = on_error
        self._calls: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._running = False
        self._thread = threading.Thread(target=self._run, name="lateen-watch", daemon=True)

    def start(self) -> None:
        """Starts listening and takes the signals over. Only the main thread may call it."""
        self._running = True
        self._wakeup_before = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        # A handler of Python's must stand there, or the signal's default action would end the process.
        self._handlers_before = {number: signal.signal(number, _ignore) for number in SIGNALS}
        self._thread.start()

    def stop(self, *, ends_process: bool = False) -> None:
        """Gives the signals back and ends the thread, once it has run what it was asked to.

        Args:
            ends_process: the process is about to leave, and a signal that arrives now must not change its exit code.
        """
        for number, handler in self._handlers_before.items():
            signal.signal(number, signal.SIG_IGN if ends_process else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self.call(self._end)
        self._thread.join()
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def call(self, function: Callable[[], None]) -> None:
        """Runs a function in the thread, soon."""
        self._calls.append(function)
        self._wake()

    def listen(self, connection: Readable, on_readable: Callable[[], None]) -> None:
        """Calls `on_readable` whenever the connection has something. Called in the thread itself."""
        self._selector.register(connection, selectors.EVENT_READ, on_readable)

    def forget(self, connection: Readable) -> None:
        """Listens to a connection no longer."""
        self._selector.unregister(connection)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full of wake-ups already
            self._wake_write.send(b"\0")

    def _end(self) -> None:
        self._running = False

    def _run(self) -> None:
        try:
            self.listen(self._wake_read, self._woken)
            ticked = time.monotonic()
            while self._running:
                due = ticked + self.interval
                for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                    key.data()
                if time.monotonic() >= due:
                    asleep = time.monotonic() - due > ASLEEP_AFTER * self.interval
                    ticked = time.monotonic()
                    self._on_tick(asleep)
        except BaseException as error:
            self._on_error(error)

    def _woken(self) -> None:
        for number in self._wake_read.recv(4096):
            if number in SIGNALS:
                self._on_signal(number)
        while self._calls:
            self._calls.popleft()()


def _ignore(*_: object) -> None:
    """The signal was handled by the watching thread."""
