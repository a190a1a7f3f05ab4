"""Asks process 0 how far it is, in a thread of its own: a trainer that is slow to answer holds up nothing."""

import http.client
import threading
from collections.abc import Callable

from lateen_api.progress import Phase, Progress

from lateen_operator.progress_history import ProgressHistory

INTERVAL_SECONDS = 0.25
# The phases before training may be short, and where training begins is worth knowing exactly.
INTERVAL_BEFORE_TRAINING = 0.05
TIMEOUT_SECONDS = 2.0


class Probe:
    """Polls `/progress` on loopback until it is closed.

    Args:
        attempt: number of the attempt.
        port: of its process 0.
        clock: seconds since the epoch.
    """

    def __init__(self, attempt: int, port: int, clock: Callable[[], float]):
        self._port = port
        self._clock = clock
        self._closed = threading.Event()
        self.answers = ProgressHistory(attempt, silent_since=clock())
        self._thread = threading.Thread(target=self._poll, name="probe", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops asking. The thread is over then, so that the processes of the next attempt are forked from a program
        with a single thread; with process 0 gone it has nothing to wait for."""
        self._closed.set()
        self._thread.join(timeout=2 * TIMEOUT_SECONDS)

    def _poll(self) -> None:
        while not self._closed.wait(self._interval()):
            self.answers = self.answers.after(ask(self._port), self._clock())

    def _interval(self) -> float:
        progress = self.answers.progress
        is_training = progress is not None and progress.phase is Phase.TRAINING
        return INTERVAL_SECONDS if is_training else INTERVAL_BEFORE_TRAINING


def ask(port: int, *, timeout: float = TIMEOUT_SECONDS) -> Progress | None:
    """The progress that the process on this port reports; None: nobody answers, or not with a progress."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/progress")
        answer = connection.getresponse()
        return Progress.model_validate_json(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
