"""Where a run's numbers go."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class Tracker(Protocol):
    """Takes the numbers of a run, step by step."""

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Takes numbers that belong to a step.

        Args:
            metrics: by name (`report.names`). Scalars of numpy and jax are converted with `float`.
            step: steps trained, this one included. A restart from a checkpoint logs the steps after it again.
        """
        ...

    def rewind(self, step: int) -> None:
        """Training goes back to `step` trained steps: the numbers of later ones are logged again."""
        ...

    def finish(self) -> None:
        """Makes sure that all is written. Nothing may be logged afterwards."""
        ...


class Trackers:
    """Several trackers as one.

    Args:
        trackers: each gets everything, in this order.
    """

    def __init__(self, trackers: Sequence[Tracker]):
        self._trackers = tuple(trackers)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """As `Tracker.log`. The first tracker that fails ends it."""
        numbers = {name: float(value) for name, value in metrics.items()}
        for tracker in self._trackers:
            tracker.log(numbers, step=step)

    def rewind(self, step: int) -> None:
        """As `Tracker.rewind`."""
        for tracker in self._trackers:
            tracker.rewind(step)

    def finish(self) -> None:
        """Finishes all of them, also when one fails.

        Raises:
            ExceptionGroup: of all that failed.
        """
        errors = []
        for tracker in self._trackers:
            try:
                tracker.finish()
            except Exception as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("trackers could not be finished", errors)
