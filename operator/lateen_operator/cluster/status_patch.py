"""The change from one status to the next, as a merge patch (RFC 7396). Pure."""

import json
from collections.abc import Mapping
from typing import Any

from lateen_api.status import JobStatus

PROGRESS_SECONDS = 5.0
WAITING_SECONDS = 1.0

_PROGRESS = frozenset({"progress", "data", "attempts", "time", "goodput", "lastCheckpoint"})
_TIME = frozenset({"time", "goodput"})


def status_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What turns `before` into `after`: null takes a field out, lists are replaced as a whole."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            change: Any = status_patch(old, value)
            if change:
                patch[name] = change
        elif name not in before or old != value:
            patch[name] = value
    return patch


def written(status: JobStatus) -> dict[str, Any]:
    """The status as it is stored."""
    return json.loads(status.model_dump_json(by_alias=True, exclude_none=True))


def is_news(patch: Mapping[str, Any]) -> bool:
    """Is there more in it than that time goes by?"""
    return not set(patch) <= _TIME


def may_wait(patch: Mapping[str, Any], before: JobStatus, after: JobStatus) -> float:
    """Seconds that must lie between this status and the one before it: news are written at once, how far the training
    is now and then, and what is waited for, which changes with every pod, not as often as that."""
    if _news(before) != _news(after):
        return 0.0
    return PROGRESS_SECONDS if set(patch) <= _PROGRESS else WAITING_SECONDS


def _news(status: JobStatus) -> object:
    """What nobody should have to wait for: attempts and their ends, and conditions that come or go."""
    attempts = [(entry.number, entry.ended) for entry in status.attempts]
    return attempts, {condition.type: condition.status for condition in status.conditions}, status.observed_generation
