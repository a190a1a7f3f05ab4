"""`status.progress`, `status.lastCheckpoint` and `status.time`: how far a job is, and where its time went."""

from pydantic import Field

from lateen_api.status.part import StatusPart, Timestamp


class ProgressStatus(StatusPart):
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
    """Training loss of the last step, in nats per token."""

    validation_loss: float | None = None
    """Loss of the last evaluation, in nats per token."""

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


class CheckpointStatus(StatusPart):
    """A committed checkpoint."""

    step: int = Field(ge=0)
    """Steps trained when it was taken."""

    path: str
    """Where it is."""

    time: Timestamp
    """When it was committed."""


class TimeStatus(StatusPart):
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

    queued: float = Field(default=0.0, ge=0)
    """The queue (`compute.queue`) had not admitted the attempt yet, or had taken its machines back."""

    waiting_for_machines: float = Field(default=0.0, ge=0)
    """No process of an attempt ran yet, and no queue was waited for: machines, images."""

    suspended: float = Field(default=0.0, ge=0)
    """`spec.suspend` was true."""
