"""A step whose numbers the loop has not read yet."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from lateen_trainer.report import names


@dataclass(frozen=True)
class UnreadStep:
    """A step that the devices are at work on."""

    metrics: Mapping[str, Any]
    """Its numbers as arrays []; reading them waits for the devices."""

    vote: jax.Array
    """Whether a checkpoint is due, [] bool."""

    noted: Mapping[str, float]
    """Numbers that the loop itself took."""

    idle: float
    """Seconds in which the devices may have had nothing to do until they got it."""

    def idle_since(self, read_at: float) -> float:
        """Seconds in which the devices may have had nothing to do, now that they get the next step: none if they have
        not ended this one, else those since the step before it was read."""
        return time.perf_counter() - read_at if self.metrics[names.LOSS].is_ready() else 0.0
