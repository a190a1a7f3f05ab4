"""The status of an LMTrainingJob: what the operator writes, and `kubectl` and dashboards read.

Everything in it can be rebuilt from the cluster and the checkpoint path; nothing is kept here alone.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from lateen_api.progress import Phase

ATTEMPTS_KEPT = 20
"""Entries of the ledger: the newest attempts. Older ones live on in `attemptCount` and the budgets."""

MESSAGE_KEPT = 1024
"""Characters of an attempt's message."""

HOST_COUNTS_KEPT = 64
WARNINGS_KEPT = 16

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A point in time by RFC 3339, as Kubernetes writes it: `2030-01-31T12:00:00Z`."""


STATES = (
    "Refused",
    "Blocked",
    "Queued",
    *(phase.value for phase in Phase if phase is not Phase.DONE),
    "Stopping",
    "Restarting",
    "Suspended",
    "Complete",
    "Failed",
)
"""What `status.state` may be; while an attempt runs, the phase of process 0."""


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


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        # A status written by a newer operator is read, too.
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Condition(_Part):
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


class ProgressStatus(_Part):
    """How far the training is."""

    step: int = Field(ge=0)
    """Steps trained."""

    of: int = Field(ge=0)
    """Steps in all."""

    percent: int = Field(ge=0, le=100)
    """Steps trained, in percent of all, rounded down."""

    phase: str | None = None
    """What the trainer is doing: Training, Evaluating, Saving, …"""

    loss: float | None = None
    """Training loss of the last step, in nats a token."""

    validation_loss: float | None = None
    """Loss of the last evaluation, in nats a token."""

    tokens: int | None = Field(default=None, ge=0)
    """Tokens trained on."""

    tokens_per_second: float | None = Field(default=None, ge=0)
    """Tokens a second, over all devices."""

    mfu: float | None = Field(default=None, ge=0)
    """Model FLOPs utilisation, from 0 to 1."""

    eta: str | None = None
    """Time to the last step at the present speed, as `3d4h`, `2h10m` or `45s`."""

    last_step_time: Timestamp | None = None
    """When the last step ended."""


class CheckpointStatus(_Part):
    """A committed checkpoint."""

    step: int = Field(ge=0)
    """Steps trained when it was taken."""

    path: str
    """Where it is."""

    time: Timestamp
    """When it was committed."""


class TimeStatus(_Part):
    """Where time went, in seconds. The parts add up to the wall time."""

    training: float = Field(default=0.0, ge=0)
    """Steps that count."""

    evaluating: float = Field(default=0.0, ge=0)
    """Evaluations."""

    saving: float = Field(default=0.0, ge=0)
    """Training waited for a checkpoint."""

    exporting: float = Field(default=0.0, ge=0)
    """Exports, samples, and waiting for the other processes at the end."""

    data: float = Field(default=0.0, ge=0)
    """Tokenizing before the first step, and waiting for batches."""

    starting: float = Field(default=0.0, ge=0)
    """From the start of process 0 to the first read of data: imports, devices, meeting the others."""

    restoring: float = Field(default=0.0, ge=0)
    """Reading checkpoints."""

    compiling: float = Field(default=0.0, ge=0)
    """Compiling, or loading compiled programs."""

    lost_steps: float = Field(default=0.0, ge=0)
    """Steps that were lost and trained again."""

    recovering: float = Field(default=0.0, ge=0)
    """From the last sign of an attempt to the start of the next one."""

    waiting_for_machines: float = Field(default=0.0, ge=0)
    """No process of an attempt ran yet: admission by a queue, machines, images."""

    suspended: float = Field(default=0.0, ge=0)
    """`spec.suspend` was true."""


class AttemptStatus(_Part):
    """One entry of the ledger: an attempt, and why it ended."""

    number: int = Field(ge=1)
    """Number of the attempt, from 1 on."""

    hosts: int = Field(ge=1)
    """Hosts it ran on."""

    started: Timestamp
    """When its processes were created."""

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


class AvoidedNodeStatus(_Part):
    """A node that the job's pods stay away from while other nodes can take them."""

    name: str
    """Name of the node."""

    reason: str = Field(max_length=128)
    """Why, as one word for programs: NodeLost, FailedBeforeFirstStep."""

    message: str = Field(max_length=MESSAGE_KEPT)
    """Why, for people."""

    until: Timestamp
    """When it is used again like any other."""


class BudgetStatus(_Part):
    """How much of `spec.recovery`'s budgets is used."""

    preemptions: int = Field(default=0, ge=0)
    """Of `maxPreemptions`."""

    infrastructure_failures: int = Field(default=0, ge=0)
    """Of `maxInfrastructureFailures`."""

    failures: int = Field(default=0, ge=0)
    """Of `maxFailures`."""


class PlanStatus(_Part):
    """The plan in short; `lateen plan` prints it in full."""

    accelerator: str
    """As in `spec.compute.accelerator`."""

    mesh: str
    """Data × model, as `32x1`."""

    devices: int = Field(ge=1)
    """JAX devices in all."""

    microbatch: int = Field(ge=1)
    """Sequences that a device works on at once."""

    accumulation_steps: int = Field(ge=1)
    """Microbatches of a device in a step."""

    lanes: int | None = None
    """Pieces of a batch in elastic mode."""

    parameters: int = Field(ge=1)
    """Trained numbers of the model."""

    tokens_per_step: int = Field(ge=1)
    """Tokens of a step."""

    host_counts: list[int] = Field(default_factory=list, max_length=HOST_COUNTS_KEPT)
    """Numbers of hosts that the job may run on, fewest first; the first 64."""

    warnings: list[str] = Field(default_factory=list, max_length=WARNINGS_KEPT)
    """What is allowed but should be known."""


class JobStatus(_Part):
    """What the operator knows of a job."""

    state: str = ""
    """The state in one word: Refused, Blocked, Queued, Starting, Training, Suspended, Complete, Failed, …"""

    observed_generation: int | None = Field(default=None, ge=0)
    """The generation of the spec that the status speaks of."""

    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """The state in full."""

    plan: PlanStatus | None = None
    """The plan in short."""

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
