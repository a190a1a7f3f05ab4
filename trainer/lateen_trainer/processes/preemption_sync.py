"""On which call of `should_stop` all processes stop.

The training loop asks at the same places in all processes, but not at the same time, and SIGTERM may reach
only one of them. So the loops are held where they are (`freeze`), process 0 collects how often each has
asked, and all stop at one more than the most. A held loop holds nobody up: who has asked more often needs
nothing from it but steps that it has started already. jax's preemption sync point works the same way.
"""

import threading


class PreemptionSync:
    """One process's part in the agreement. `should_stop` is called by the loop, the rest by the watching
    thread."""

    def __init__(self):
        self._condition = threading.Condition()
        self._calls = 0
        self._frozen = False
        self._stop_at: int | None = None

    def begin(self) -> None:
        """Counts like a call: who has not called at all has nothing to save, and need not agree on anything."""
        self.should_stop()

    def should_stop(self) -> bool:
        """Whether this call is the agreed one, or a later one. Waits while the processes agree."""
        with self._condition:
            while self._frozen and self._stop_at is None:
                self._condition.wait()
            self._calls += 1
            return self._stop_at is not None and self._calls >= self._stop_at

    def freeze(self) -> int:
        """Holds the loop at its next call; returns how often it has asked."""
        with self._condition:
            self._frozen = True
            return self._calls

    def decide(self, stop_at: int) -> None:
        """Lets the loop go on, to stop at its `stop_at`-th call."""
        with self._condition:
            self._stop_at = stop_at
            self._condition.notify_all()

    @property
    def requested(self) -> bool:
        """Whether a stop is under way."""
        return self._frozen
