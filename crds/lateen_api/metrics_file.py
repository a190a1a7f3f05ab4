"""The numbering of steps in `metrics.jsonl`."""

from collections.abc import Iterable, Mapping
from typing import Any


def steps_offset(lines: Iterable[Mapping[str, Any]]) -> int:
    """What has to be added to each line's `step` to get the number of steps trained: 0, or 1 in a file of a version
    before 0.2, which counted from 0."""
    return int(any(line.get("step") == 0 and "loss" in line for line in lines))
