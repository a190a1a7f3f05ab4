"""A log line about the step now and then, for those who read the logs of a process."""

import logging
import math
import time
from collections.abc import Callable, Mapping

from lateen_trainer.report import names

SECONDS = 15.0
"""Between two lines. Of short steps not each has one."""

log = logging.getLogger(__name__)


class StepLog:
    """A tracker that logs the first step, the last one, and in between one whenever `SECONDS` have passed.

    Args:
        steps: of the whole run.
        clock: seconds, never going back.
    """

    def __init__(self, steps: int, clock: Callable[[], float] = time.monotonic):
        self._steps = steps
        self._clock = clock
        self._due = -math.inf

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Logs the step if a line is due; numbers that belong to no training step have none."""
        if names.LOSS not in metrics or (self._clock() < self._due and step < self._steps):
            return
        self._due = self._clock() + SECONDS
        rate = metrics.get(names.TOKENS_PER_SECOND)
        speed = "" if rate is None else f", {rate:,.0f} tokens per second"
        log.info("Step %s of %s: loss %.4f%s", f"{step:,}", f"{self._steps:,}", metrics[names.LOSS], speed)

    def rewind(self, step: int) -> None:
        """The next step is logged, as one that is trained again."""
        self._due = -math.inf

    def finish(self) -> None:
        """There is nothing left to write."""
