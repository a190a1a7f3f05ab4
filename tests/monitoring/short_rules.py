"""The chart's alert rules with their times divided, so that a test of seconds sees what takes hours."""

import re
from typing import Any

import yaml

FACTOR = 500
"""4 hours become 28.8 s, 10 minutes 1.2 s."""

FACTORS = {
    # Between attempts that fail the operator waits 1 s, 2 s, 4 s, so the hour becomes 30 s.
    "LateenJobCrashLooping": 120,
    # A day becomes 4.3 s, since on a busy machine a late scrape makes it begin again.
    "LateenJobQueuedLong": 20_000,
    # 4 hours become 14.4 s: on a busy machine the state that it is about would not last longer without a late scrape.
    "LateenCheckpointMissing": 1000,
    # 10 minutes become 5 s: several slow steps.
    "LateenStraggler": 120,
}
"""Of rules that `FACTOR` does not suit."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME_RANGE = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=offset )(\d+)([smhd])\b")
_SECONDS = re.compile(r"> (4 \* 3600|600|300)(?!\S)")
"""Thresholds in seconds."""


def shortened(text: str) -> str:
    """The rules with all their times divided, and else as they are."""
    rules = yaml.safe_load(text)
    for group in rules["groups"]:
        for rule in group["rules"]:
            _shorten(rule, FACTORS.get(rule["alert"], FACTOR))
    return yaml.safe_dump(rules)


def _shorten(rule: dict[str, Any], factor: int) -> None:
    def duration(number: str, unit: str) -> str:
        return f"{int(number) * _UNITS[unit] * 1000 // factor}ms"

    expr = _TIME_RANGE.sub(lambda match: duration(*filter(None, match.groups())), rule["expr"])
    rule["expr"] = _SECONDS.sub(rf"> \1 / {factor}", expr)
    if "for" in rule:
        rule["for"] = duration(rule["for"][:-1], rule["for"][-1])
