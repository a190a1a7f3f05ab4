"""What is told as an event: changes between one status and the next, each once. Pure.

Progress is no event: it stands in the status. So a job of a thousand steps tells as little as one of ten.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lateen_api.status import AttemptStatus, Condition, ConditionType, DataStatus, JobStatus

from lateen_operator.process_exit import FailureClass
from lateen_operator.wording import hosts

EventType = Literal["Normal", "Warning"]

_WARNINGS = frozenset({FailureClass.INFRASTRUCTURE, FailureClass.USER, FailureClass.DATA, FailureClass.NUMERICAL})
_TOLD_CONDITIONS: dict[ConditionType, EventType] = {
    ConditionType.SUSPENDED: "Normal",
    ConditionType.COMPLETE: "Normal",
    ConditionType.FAILED: "Warning",
    ConditionType.DEGRADED: "Warning",
    ConditionType.STRAGGLING: "Warning",
}
"""Conditions whose becoming true is an event, and of which type."""

TOLD = frozenset(_TOLD_CONDITIONS)
"""Conditions whose becoming true is an event."""


@dataclass(frozen=True)
class Event:
    """An event of Kubernetes, to be written about the job."""

    type: EventType
    reason: str
    message: str


def events(previous: JobStatus | None, status: JobStatus) -> list[Event]:
    """What happened between two statuses of a job, in order."""
    previous = previous or JobStatus()
    told = [*_data(previous.data, status.data), *_attempts(previous.attempts, status.attempts)]
    before = {condition.type: condition for condition in previous.conditions}
    for condition in status.conditions:
        told += _condition(before.get(condition.type), condition)
    return told


def _data(before: DataStatus | None, after: DataStatus | None) -> list[Event]:
    if after is None:
        return []
    known = before if before is not None and before.digest == after.digest else None
    told = []
    if known is None and not after.ready:
        told.append(Event("Normal", "PreparingData", "Pods of spec.data.prepare tokenize the text."))
    if after.ready and not (known and known.ready):
        told.append(Event("Normal", "DataReady", "What training begins with is tokenized."))
    if after.whole and not (known and known.whole):
        told.append(Event("Normal", "DataWhole", "All text is tokenized."))
    return told


def _attempts(before: Sequence[AttemptStatus], after: Sequence[AttemptStatus]) -> list[Event]:
    known = {entry.number: entry for entry in before}
    told = []
    for entry in after:
        old = known.get(entry.number)
        if old is None:
            told.append(Event("Normal", "AttemptStarted", f"Attempt {entry.number} starts on {hosts(entry.hosts)}."))
        if entry.ended is not None and (old is None or old.ended is None):
            failure = FailureClass(entry.failure_class or FailureClass.INFRASTRUCTURE)
            at = f" at step {entry.step:,}" if entry.step else ""
            lost = f", {entry.steps_lost} steps are trained again" if entry.steps_lost else ""
            told.append(
                Event(
                    "Warning" if failure in _WARNINGS else "Normal",
                    f"Attempt{failure.value}",
                    f"Attempt {entry.number} ended{at}{lost}: {entry.message}.",
                )
            )
    return told


def _condition(before: Condition | None, after: Condition) -> list[Event]:
    if after.type is ConditionType.ACCEPTED:
        changed = before is None or (before.status, before.message) != (after.status, after.message)
        return [Event("Warning", after.reason, after.message)] if after.status == "False" and changed else []
    if after.type is ConditionType.BLOCKED:
        # Its message may change at every try (names of pods, amounts used): that is no news.
        changed = before is None or (before.status, before.reason) != (after.status, after.reason)
        return [Event("Warning", after.reason, after.message)] if after.status == "True" and changed else []
    if after.type not in _TOLD_CONDITIONS or after.status != "True" or (before and before.status == "True"):
        return []
    return [Event(_TOLD_CONDITIONS[after.type], after.reason, after.message)]
