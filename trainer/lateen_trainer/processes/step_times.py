"""Which process the others wait for.

All processes end a step together, so its duration is the same in each of them, and a device that waits for others
looks like one that computes. What differs is what happens between steps: a process that hands a step to its devices
after they have ended the one before keeps all devices waiting.
"""

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from lateen_api.progress import SlowestProcess

WINDOW = 20
"""Steps over which times are averaged."""

_DIGITS = 6


@dataclass(frozen=True)
class StepTimes:
    """Of a process: seconds per step."""

    step: float
    """From the end of a step to the end of the next one, without evaluation and saving."""

    idle: float
    """Of it, those in which its devices had nothing to do until the process gave them the next step: at most, since a
    process does not learn when its devices ended the one before. 0 where they had not ended it."""

    data_wait: float
    """Of it, those in which its loop waited for the batch."""


class RecentSteps:
    """The last steps of this process. One thread adds to them, another one reads their mean."""

    def __init__(self) -> None:
        self._steps: deque[StepTimes] = deque(maxlen=WINDOW)

    def add(self, times: StepTimes) -> None:
        """Adds the last step."""
        self._steps.append(times)

    def mean(self) -> StepTimes | None:
        """Their mean; None: there is none yet."""
        steps = [astuple(times) for times in self._steps.copy()]
        if not steps:
            return None
        return StepTimes(*(round(statistics.fmean(values), _DIGITS) for values in zip(*steps, strict=True)))


def slowest(times: Mapping[int, StepTimes]) -> SlowestProcess | None:
    """The process whose devices were idle longest, beside the others.

    Args:
        times: of all processes that have said theirs, by number.

    Returns:
        None for fewer than two processes: there is nothing to compare.
    """
    if len(times) < 2:
        return None
    number = max(times, key=lambda process: (times[process].idle, -process))
    found = times[number]
    others = [one.idle for process, one in times.items() if process != number]
    return SlowestProcess(
        process=number,
        idle_seconds=found.idle,
        data_wait_seconds=min(found.data_wait, found.idle),
        others_idle_seconds=round(statistics.median(others), _DIGITS),
        step_seconds=found.step,
    )
