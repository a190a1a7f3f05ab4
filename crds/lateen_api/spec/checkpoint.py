"""`spec.checkpoint`: where and how often the state of training is saved."""

from pydantic import Field

from lateen_api.spec.section import Duration, Section


class KeepRule(Section):
    """Checkpoints that are kept for good."""

    every: int = Field(ge=1)
    """Keep each checkpoint whose step is a multiple of this."""

    until: int | None = Field(default=None, ge=1)
    """The rule holds up to this step; null: to the end."""


class CheckpointSpec(Section):
    """Where and how often the state of training is saved."""

    path: str | None = Field(default=None, min_length=1, max_length=1024)
    """Folder of the checkpoints: a path or `gs://` URL. A relative path is below the run's folder, wherever
    `lateen run` is called; pods need an absolute one. Default: `checkpoints` in the run's folder."""

    save_interval: Duration = "15m"
    """Time between two temporary checkpoints; each replaces the one before it."""

    keep: list[KeepRule] = Field(default_factory=list, max_length=64)
    """Which checkpoints are kept for good. The newest one is always kept."""
