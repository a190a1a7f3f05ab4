"""What is shown of a run at one moment, and who shows it."""

from dataclasses import dataclass, field
from typing import Protocol

from lateen_api.progress import Phase, Progress

from lateen_operator.local.losses import Points


@dataclass(frozen=True)
class View:
    """A run at one moment."""

    name: str
    where: str
    """`2 processes × 1 CPU device`."""

    folder: str
    attempt: int
    elapsed: float
    """Seconds since `lateen run` began."""

    progress: Progress = field(default_factory=lambda: Progress(phase=Phase.STARTING, since=0.0))
    losses: Points = field(default_factory=list)

    @property
    def fraction(self) -> float:
        """Share of the steps that are trained, 0 to 1."""
        return self.progress.step / self.progress.of if self.progress.of else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until the last step is trained, at the present speed."""
        progress = self.progress
        if not progress.tokens_per_second or not progress.step or not progress.of:
            return None
        tokens_a_step = progress.tokens / progress.step
        return (progress.of - progress.step) * tokens_a_step / progress.tokens_per_second


class Display(Protocol):
    """Shows a run while it goes on."""

    def show(self, view: View) -> None:
        """Called a few times a second."""
        ...

    def say(self, message: str) -> None:
        """Something that should be read: a restart and its cause."""
        ...

    def close(self) -> None:
        """Leaves the terminal in order."""
        ...
