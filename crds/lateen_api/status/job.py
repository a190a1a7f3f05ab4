"""`status` as a whole."""

from pydantic import Field

from lateen_api.progress import Phase
from lateen_api.status.attempt import ATTEMPTS_KEPT, AttemptStatus, AvoidedNodeStatus, BudgetStatus
from lateen_api.status.condition import Conditions
from lateen_api.status.data import DataStatus
from lateen_api.status.part import StatusPart
from lateen_api.status.plan import PlanStatus
from lateen_api.status.progress import CheckpointStatus, ProgressStatus, TimeStatus

STATES = (
    "Refused",
    "Blocked",
    "PreparingData",
    "Queued",
    *(phase.value for phase in Phase if phase is not Phase.DONE),
    "Stopping",
    "Restarting",
    "Suspended",
    "Complete",
    "Failed",
)
"""What `status.state` may be; while an attempt runs, the phase of process 0."""


class JobStatus(StatusPart):
    """What the operator knows of a job."""

    state: str = ""
    """The state in one word: Refused, Blocked, Queued, Starting, Training, Suspended, Complete, Failed, …"""

    observed_generation: int | None = Field(default=None, ge=0)
    """The generation of the spec that the status speaks of."""

    conditions: Conditions = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """The state in full."""

    plan: PlanStatus | None = None
    """The plan in short."""

    data: DataStatus | None = None
    """The token caches, where pods of their own build them (`spec.data.prepare`)."""

    progress: ProgressStatus | None = None
    """How far the training is."""

    lanes: int | None = Field(default=None, ge=1)
    """Lanes of the run in elastic mode. They belong to the bits of its losses: later attempts have as many, whatever
    their hosts, unless `spec.trainer.lanes` says otherwise."""

    hosts: int = Field(default=0, ge=0)
    """Hosts of the present attempt; 0: there is none."""

    attempt_count: int = Field(default=0, ge=0)
    """Attempts made."""

    attempts: list[AttemptStatus] = Field(
        default_factory=list,
        max_length=ATTEMPTS_KEPT,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number"]},
    )
    """The ledger: the last attempts and why they ended, oldest first."""

    avoided_nodes: list[AvoidedNodeStatus] = Field(
        default_factory=list,
        max_length=ATTEMPTS_KEPT,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Nodes that its pods stay away from while others can take them: attempts failed there."""

    budgets: BudgetStatus = Field(default_factory=BudgetStatus)
    """How much of the budgets is used."""

    last_checkpoint: CheckpointStatus | None = None
    """The last committed checkpoint."""

    time: TimeStatus | None = None
    """Where the time since the job was created went."""

    time_before: TimeStatus | None = None
    """The part of `time` that is of attempts no longer in `attempts`."""

    goodput: float | None = Field(default=None, ge=0, le=1)
    """Part of the time on machines that went into steps that count and into evaluations, from 0 to 1."""
