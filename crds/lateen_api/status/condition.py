"""`status.conditions`."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from lateen_api.status.part import StatusPart, Timestamp


class ConditionType(StrEnum):
    """What a job's conditions tell. Each is True, False or Unknown."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    QUEUED = "Queued"
    RUNNING = "Running"
    DEGRADED = "Degraded"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


CONDITION_MEANING = {
    ConditionType.ACCEPTED: "The plan was made. False: the job cannot run as it is written, and nothing was created.",
    ConditionType.BLOCKED: "The API server refuses an object that the job needs, or its change. It is tried again.",
    ConditionType.QUEUED: "It waits for admission by a queue or for machines; the reason says which.",
    ConditionType.RUNNING: "All processes of an attempt are up.",
    ConditionType.DEGRADED: "It runs, but on fewer hosts than asked for, or without progress.",
    ConditionType.SUSPENDED: "`spec.suspend` freed its machines.",
    ConditionType.COMPLETE: "All steps are trained.",
    ConditionType.FAILED: "It has ended without being complete and will not be tried again.",
}
"""What it means that a condition is True."""


class Condition(StatusPart):
    """One condition, as Kubernetes' metav1.Condition."""

    type: ConditionType
    """What it tells."""

    status: Literal["True", "False", "Unknown"]
    """Does it hold?"""

    reason: str = Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    """Why, as one word for programs."""

    message: str = Field(max_length=32768)
    """Why, and what to do, for people."""

    last_transition_time: Timestamp
    """When `status` last changed."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The generation of the spec that it speaks of."""
