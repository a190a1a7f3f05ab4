"""Asks process 0 how far it is, in a thread of its own: a trainer that is slow to answer holds up nothing."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from lateen_api.progress import Phase, Progress

INTERVAL_SECONDS = 0.25
# The phases before training may be short, and where training begins is worth knowing exactly.
INTERVAL_BEFORE_TRAINING = 0.05
TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Answers:
    """What process 0 of one attempt has said."""

    silent_since: float | None
    """Time of the first question without an answer since the last answer; None: the last question was
    answered."""

    progress: Progress | None = None
    """The last answer."""

    moved_at: float | None = None
    """When the answers last changed."""


class Probe:
    """Polls `/progress` on loopback until it is closed.

    Args:
        port: of process 0.
        clock: seconds since the epoch.
    """

    def __init__(self, port: int, clock: Callable[[], float]):
        self._port = port
        self._clock = clock
        self._closed = threading.Event()
        self.answers = Answers(silent_since=clock())
        self._thread = threading.Thread(target=self._poll, name="probe", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops asking. The thread is over then, so that the processes of the next attempt are forked from a program
        with a single thread; with process 0 gone it has nothing to wait for."""
        self._closed.set()
        self._thread.join(timeout=2 * TIMEOUT_SECONDS)

    def _poll(self) -> None:
        while not self._closed.wait(self._interval()):
            progress = ask(self._port)
            before = self.answers
            if progress is not None:
                moved_at = before.moved_at if progress == before.progress else self._clock()
                self.answers = Answers(silent_since=None, progress=progress, moved_at=moved_at)
            elif before.silent_since is None:
                self.answers = replace(before, silent_since=self._clock())

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
