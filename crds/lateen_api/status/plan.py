"""`status.plan`."""

from pydantic import Field

from lateen_api.status.part import StatusPart

HOST_COUNTS_KEPT = 64
WARNINGS_KEPT = 16


class PlanStatus(StatusPart):
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
