"""What process 0 reports on /progress while it works."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Phase(StrEnum):
    """What a trainer is doing."""

    STARTING = "Starting"
    """Importing, waiting for its peers, opening the devices."""

    TOKENIZING = "Tokenizing"
    """Building the part of the cache that training needs first."""

    RESTORING = "Restoring"
    """Reading a checkpoint."""

    COMPILING = "Compiling"
    """XLA compiles the step."""

    WAITING_FOR_DATA = "WaitingForData"
    """The next step needs text that is not tokenised yet."""

    TRAINING = "Training"
    EVALUATING = "Evaluating"
    SAVING = "Saving"
    """The loop waits for a checkpoint."""

    EXPORTING = "Exporting"
    DONE = "Done"


BEFORE_STATE = frozenset({Phase.STARTING, Phase.TOKENIZING, Phase.RESTORING})
"""Phases in which an attempt does not know yet from which step it starts. (A rollback enters RESTORING again.)"""


class SlowestProcess(BaseModel):
    """The process that its devices waited for longest between steps, beside the others: means over the last steps, in
    seconds per step. A process whose devices have not ended a step when it gives them the next one costs nothing."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    process: int
    """Its number."""

    idle_seconds: float
    """Its devices had nothing to do until it gave them the next step: at most."""

    data_wait_seconds: float
    """Of them, those in which it waited for a batch."""

    others_idle_seconds: float
    """Median of the same of all other processes."""

    step_seconds: float
    """The step took."""


class Progress(BaseModel):
    """Where a run is. Field names are camelCase in JSON."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    phase: Phase
    since: float
    """When the phase began, or its last step ended: seconds since the epoch."""

    start_step: int | None = None
    """Steps that were trained when the attempt began: those of the checkpoint that it restored, 0 without one.
    None: not known yet."""

    step: int = 0
    """Steps trained."""

    of: int = 0
    """Steps in all."""

    tokens: int = 0
    """Tokens trained on since step 0."""

    loss: float | None = None
    """Training loss of the last step: nats per token."""

    validation_loss: float | None = None
    """Loss of the last evaluation: nats per token."""

    tokens_per_second: float | None = None
    mfu: float | None = None
    """Model FLOPs utilisation, 0 to 1; None: the device's peak is not known."""

    last_checkpoint: str | None = None
    """Last committed checkpoint."""

    last_checkpoint_step: int | None = None
    process_started_at: float | None = None
    """When process 0 began: seconds since the epoch."""

    phase_seconds: dict[Phase, float] = {}
    """Seconds that process 0 has spent in each phase, up to `since`: from then on, it is in `phase`."""

    data_wait_seconds: float = 0.0
    """Seconds of them that training waited for batches."""

    slowest_process: SlowestProcess | None = None
    """The process that the others wait for; None: there is one process, or no step was timed yet."""

    data_ready: bool = False
    """Of a pod of `spec.data.prepare`: what training begins with is tokenized."""

    detail: str | None = None
    """What the phase is at, for people: `3 of 14 files`."""
