"""The numbers of a run by step, from its metrics.jsonl."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lateen_api.metrics_file import steps_offset

from lateen_operator.local.losses import LossCurve, Points

_NOT_NUMBERS = frozenset({"step", "attempt"})


@dataclass(frozen=True)
class Metrics:
    """Curves by the names that the trainer logs (`loss`, `step_seconds`, …); at most some thousand points each."""

    curves: Mapping[str, Points] = field(default_factory=dict)
    lines: int = 0
    torn_lines: int = 0
    """Lines that are no JSON object."""

    not_finite: int = 0
    """Numbers that are not finite; no curve has them."""

    def points(self, name: str) -> Points:
        """The curve of that name, by step; empty if there is none."""
        return list(self.curves.get(name, ()))

    def last(self, name: str) -> float | None:
        """The value at the last step that has one."""
        points = self.curves.get(name)
        return points[-1][1] if points else None

    @property
    def step(self) -> int | None:
        """The last step of any curve."""
        return max((points[-1][0] for points in self.curves.values() if points), default=None)


def read_metrics(path: Path) -> Metrics:
    """All numbers in the file; none when there is no such file. A step that was trained again has its later value.

    Raises:
        OSError: the file cannot be read.
    """
    offset = steps_offset(line for line in _lines(path) if line is not None)
    curves: dict[str, LossCurve] = {}
    lines = torn = not_finite = 0
    for line in _lines(path):
        lines += 1
        step = None if line is None else line.get("step")
        if line is None or not isinstance(step, int):
            torn += 1
            continue
        for name, value in line.items():
            if name in _NOT_NUMBERS:
                continue
            if isinstance(value, str):
                not_finite += 1
            elif isinstance(value, int | float):
                curves.setdefault(name, LossCurve()).add(step + offset, value)
    points = {name: curve.points() for name, curve in curves.items()}
    return Metrics({name: curve for name, curve in points.items() if curve}, lines, torn, not_finite)


def _lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """Each line's object; None for one that is none."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            yield line if isinstance(line, dict) else None
