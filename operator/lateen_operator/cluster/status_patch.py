"""The change from one status to the next, as a merge patch (RFC 7396). Pure."""

import json
from collections.abc import Mapping
from typing import Any

from lateen_api.status import ConditionType, JobStatus

PROGRESS_SECONDS = 5.0
WAITING_SECONDS = 1.0
START_SECONDS_PER_JOB = 0.05
START_LONGEST_SECONDS = 10.0
JOBS_THAT_DOUBLE_WAITS = 20

_PROGRESS = frozenset({"progress", "data", "attempts", "time", "goodput", "lastCheckpoint"})
_TIME = frozenset({"time", "goodput"})
_OF_A_START = frozenset({ConditionType.QUEUED, ConditionType.RUNNING})
"""Conditions that come and go while pods start."""


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


def may_wait(patch: Mapping[str, Any], before: JobStatus, after: JobStatus, others: int = 0) -> float:
    """Seconds that must lie between this status and the one before it, or the creation of the attempt's JobSet.

    News are written at once, how far the training is now and then, and what is waited for, which changes with every
    pod, not as often as that, and more seldom the more there is to do. That an attempt starts waits a little for the
    requests that start those of other jobs.

    Args:
        patch: from `before` to `after`.
        before: the status as it stands there.
        after: the status as it is to be.
        others: other jobs that wait for a worker, or have one.
    """
    if _news(before) != _news(after):
        waits = min(START_LONGEST_SECONDS, START_SECONDS_PER_JOB * others)
        return waits if _is_start(before, after) else 0.0
    waits = PROGRESS_SECONDS if set(patch) <= _PROGRESS else WAITING_SECONDS
    return waits * (1 + others / JOBS_THAT_DOUBLE_WAITS)


def _news(status: JobStatus) -> object:
    """What nobody should have to wait for: attempts and their ends, and conditions that come or go."""
    attempts = [(entry.number, entry.ended) for entry in status.attempts]
    return attempts, {condition.type: condition.status for condition in status.conditions}, status.observed_generation


def _is_start(before: JobStatus, after: JobStatus) -> bool:
    """Is all news that an attempt was created, or how far its pods are?"""
    has_run = any(
        condition.type is ConditionType.RUNNING and condition.status == "True" for condition in before.conditions
    )
    is_read = before.observed_generation in (None, after.observed_generation)
    return is_read and not has_run and _exceptions(before) == _exceptions(after)


def _exceptions(status: JobStatus) -> object:
    """What does not belong to a start: attempts that ended, a refusal, and other conditions that hold."""
    ended = [(entry.number, entry.ended) for entry in status.attempts if entry.ended is not None]
    conditions = [one for one in status.conditions if one.type not in _OF_A_START]
    return ended, {one.type for one in conditions if (one.status == "True") != (one.type is ConditionType.ACCEPTED)}
