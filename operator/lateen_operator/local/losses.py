"""The losses of a run, by step: from the trainer's metrics.jsonl and from what it reports while it works."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lateen_api.metrics_file import steps_offset

MOST_POINTS = 4096

Points = list[tuple[int, float]]
"""(steps trained, nats per token), by step."""


class LossCurve:
    """Losses by step. A step that is trained again after a restart replaces its earlier value.

    Holds at most `MOST_POINTS`; when full, every other point goes.
    """

    def __init__(self) -> None:
        self._by_step: dict[int, float] = {}

    def add(self, step: int, loss: float | None) -> None:
        """Takes up a point; None and losses that are not finite are left out."""
        if loss is None or not _is_finite(loss):
            return
        self._by_step[step] = loss
        if len(self._by_step) > MOST_POINTS:
            self._by_step = dict(self.points()[::2])

    def points(self) -> Points:
        """All points, by step."""
        return sorted(self._by_step.items())


def read_metrics(path: Path) -> tuple[LossCurve, LossCurve]:
    """Training and validation losses of a metrics.jsonl; empty when there is no such file."""
    training, validation = LossCurve(), LossCurve()
    offset = steps_offset(_lines(path))
    for line in _lines(path):
        step = line.get("step")
        if isinstance(step, int):
            training.add(step + offset, line.get("loss"))
            validation.add(step + offset, line.get("validation_loss"))
    return training, validation


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    # A process that was killed leaves half a line.
                    continue
                if isinstance(line, dict):
                    yield line
    except FileNotFoundError:
        return


def _is_finite(loss: object) -> bool:
    return isinstance(loss, int | float) and loss - loss == 0
