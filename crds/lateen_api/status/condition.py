"""`status.conditions`."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lateen_api.status.part import StatusPart, Timestamp


class ConditionType(StrEnum):
    """What a job's conditions tell. Each is True, False or Unknown."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    QUEUED = "Queued"
    RUNNING = "Running"
    DEGRADED = "Degraded"
    STRAGGLING = "Straggling"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


CONDITION_MEANING = {
    ConditionType.ACCEPTED: "The plan was made. False: the job cannot run as it is written, and nothing was created.",
    ConditionType.BLOCKED: "The API server refuses an object that the job needs, or its change. It is tried again.",
    ConditionType.QUEUED: "It waits for admission by a queue or for machines; the reason says which.",
    ConditionType.RUNNING: "All processes of an attempt are up.",
    ConditionType.DEGRADED: "It runs, but on fewer hosts than asked for, or without progress.",
    ConditionType.STRAGGLING: "The other processes have waited for one of them for 5 minutes; the message says which.",
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


_TYPES = frozenset(str(kind) for kind in ConditionType)


def _of_known_types(conditions: object) -> object:
    """Leaves out those of types that a newer operator has."""
    if not isinstance(conditions, list):
        return conditions
    return [one for one in conditions if not isinstance(one, dict) or one.get("type") in _TYPES]


Conditions = Annotated[list[Condition], BeforeValidator(_of_known_types)]
"""All conditions of a job. A status of a newer operator is read without those that are not known here."""
