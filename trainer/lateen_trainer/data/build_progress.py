"""How far a cache has come, for people and for metrics."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

_SPEED_AFTER = 1.0
"""Seconds of work from which on a speed is stated."""


@dataclass(frozen=True)
class BuildProgress:
    """Of all builders together, as far as this one knows; speeds are those since it began to look."""

    files: int
    of_files: int
    parts: int
    """Whole ones."""

    of_parts: int
    tokens: int
    documents: int
    skipped: int
    """Bad documents that were left out."""

    tokens_per_second: float | None = None
    documents_per_second: float | None = None
    seconds_left: float | None = None
    """By the bytes of the source files that are done and that are left; None: not known yet."""

    def __str__(self) -> str:
        text = f"{self.files:,} of {self.of_files:,} files tokenized, {self.tokens:,} tokens"
        if self.skipped:
            text += f", {self.skipped:,} bad documents skipped"
        if self.tokens_per_second is not None and self.documents_per_second is not None:
            text += f" ({self.tokens_per_second:,.0f} tokens/s, {self.documents_per_second:,.0f} documents/s)"
        if self.seconds_left is not None:
            text += f", about {duration(self.seconds_left)} left"
        return text


class Speed:
    """Adds to progress how fast it goes.

    Args:
        clock: seconds on a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._first: tuple[float, BuildProgress, int] | None = None

    def added_to(self, now: BuildProgress, *, done: int, left: int) -> BuildProgress:
        """The progress with speeds, as soon as they can be known.

        Args:
            done: bytes of source files in whole parts.
            left: bytes of all others.
        """
        if self._first is None:
            self._first = (self._clock(), now, done)
        began, first, done_before = self._first
        elapsed = self._clock() - began
        if elapsed < _SPEED_AFTER or now.tokens <= first.tokens:
            return now
        return replace(
            now,
            tokens_per_second=(now.tokens - first.tokens) / elapsed,
            documents_per_second=(now.documents - first.documents) / elapsed,
            seconds_left=elapsed * left / (done - done_before) if left and done > done_before else None,
        )


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`: to two digits or so."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
