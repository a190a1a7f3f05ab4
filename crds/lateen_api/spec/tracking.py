"""`spec.tracking`: where metrics go, besides the run's `metrics.jsonl` and Prometheus."""

from pydantic import Field

from lateen_api.spec.section import Section


class WandbSpec(Section):
    """Weights & Biases."""

    project: str
    """Project of the run."""

    entity: str | None = None
    """User or team of the project."""

    name: str | None = None
    """Name of the run. Default: the job's."""

    tags: list[str] = Field(default_factory=list)
    """Tags of the run."""


class TensorBoardSpec(Section):
    """TensorBoard."""

    log_dir: str
    """Folder of the event files: a path or fsspec URL."""


class TrackingSpec(Section):
    """Where metrics go, besides the run's `metrics.jsonl` and Prometheus."""

    wandb: WandbSpec | None = None
    """Weights & Biases."""

    tensorboard: TensorBoardSpec | None = None
    """TensorBoard."""
