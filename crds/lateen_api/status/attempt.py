"""`status.attempts`: the ledger of attempts, and the nodes that they avoid."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from lateen_api.status.part import StatusPart, Timestamp

ATTEMPTS_KEPT = 20
"""Entries of the ledger: the newest attempts. Older ones live on in `attemptCount` and the budgets."""

MESSAGE_KEPT = 1024
"""Characters of an attempt's message."""


class AttemptStatus(StatusPart):
    """One entry of the ledger: an attempt, and why it ended."""

    number: int = Field(ge=1)
    """Number of the attempt, from 1 on."""

    hosts: int = Field(ge=1)
    """Hosts it ran on."""

    started: Timestamp
    """When its processes were created."""

    queue: str | None = Field(default=None, max_length=253)
    """The queue that its machines came from, or were to come from; null: none."""

    admitted: Timestamp | None = None
    """When the queue admitted it; null: it has not, or there is none."""

    ended: Timestamp | None = None
    """When its last process was gone; null: it runs."""

    failure_class: str | None = None
    """Class of its end: Done, Requested, Planned, Infrastructure, User, Data, Numerical; null: it runs."""

    cause: str | None = None
    """What older versions call `failureClass`. It is read, and never written."""

    reason: str | None = Field(default=None, max_length=128)
    """Why it ended, as one word for programs: SIGKILL, EvictionByEvictionAPI, NodeLost, Suspended, …"""

    exit_code: int | None = None
    """Exit code of the process that ended first, or whose end explains the others'."""

    process: int | None = Field(default=None, ge=0)
    """Number of that process; null: no single one."""

    node: str | None = None
    """Node of that process."""

    message: str | None = Field(default=None, max_length=MESSAGE_KEPT)
    """Why it ended, for people."""

    first_step: int | None = Field(default=None, ge=0)
    """Step that it went on from."""

    step: int | None = Field(default=None, ge=0)
    """Steps trained when last heard of."""

    loss: float | None = None
    """Training loss of the last step, in nats per token."""

    checkpoint_step: int | None = Field(default=None, ge=0)
    """Step of the last checkpoint then."""

    checkpoint: str | None = None
    """The last checkpoint then."""

    wanted_hosts: int | None = Field(default=None, ge=1)
    """Hosts that the job asked for when it was started."""

    next_hosts: int | None = Field(default=None, ge=1)
    """Hosts of the attempt after it, when it ended in order to have another number of them."""

    spec_digest: str | None = Field(default=None, max_length=64)
    """Digest of the job that it was started with."""

    process_started: Timestamp | None = None
    """When its process 0 began."""

    last_phase: str | None = None
    """What process 0 was doing when last heard of."""

    phase_seconds: dict[str, float] | None = None
    """Seconds that process 0 spent in each phase, when last heard of."""

    data_wait_seconds: float | None = Field(default=None, ge=0)
    """Seconds of these that training waited for batches."""

    steps_lost: int | None = Field(default=None, ge=0)
    """Steps that had to be trained again."""

    seconds_to_next_step: float | None = Field(default=None, ge=0)
    """Seconds from its end to the next step that was trained, in whichever attempt."""

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping) or fields.get("cause") is None:
            return fields
        return {"failureClass": fields["cause"], **fields, "cause": None}


class AvoidedNodeStatus(StatusPart):
    """A node that the job's pods stay away from while other nodes can take them."""

    name: str
    """Name of the node."""

    reason: str = Field(max_length=128)
    """Why, as one word for programs: NodeLost, FailedBeforeFirstStep."""

    message: str = Field(max_length=MESSAGE_KEPT)
    """Why, for people."""

    until: Timestamp
    """When it is used again like any other."""


class BudgetStatus(StatusPart):
    """How much of `spec.recovery`'s budgets is used."""

    preemptions: int = Field(default=0, ge=0)
    """Of `maxPreemptions`."""

    infrastructure_failures: int = Field(default=0, ge=0)
    """Of `maxInfrastructureFailures`."""

    failures: int = Field(default=0, ge=0)
    """Of `maxFailures`."""
