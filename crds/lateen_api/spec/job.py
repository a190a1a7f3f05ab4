"""The resource itself: `LMTrainingJob` with its metadata and spec."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from lateen_api.spec.checkpoint import CheckpointSpec
from lateen_api.spec.compute import ComputeSpec
from lateen_api.spec.data import DataSpec
from lateen_api.spec.export import ExportSpec
from lateen_api.spec.model import Gpt2Spec, ModelSpec
from lateen_api.spec.optimizer import OptimizerSpec
from lateen_api.spec.recovery import RecoverySpec
from lateen_api.spec.section import Duration, Section, default_type
from lateen_api.spec.tracking import TrackingSpec
from lateen_api.spec.trainer import TrainerSpec

GROUP = "lateen.dev"
VERSION = "v1alpha1"
API_VERSION: Final = "lateen.dev/v1alpha1"
KIND: Final = "LMTrainingJob"
PLURAL = "lmtrainingjobs"
SINGULAR = "lmtrainingjob"
SHORT_NAME = "lmtj"

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
LONGEST_NAME = 36

# `<name>-a<attempt>-workers-<slice>-<host>-<5 random>` must stay a DNS label of 63 characters.
JobName = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=LONGEST_NAME)]


class JobSpec(Section):
    """What to train, on what, and where it goes."""

    model: Annotated[ModelSpec, default_type("gpt2")] = Field(default_factory=Gpt2Spec)
    """The architecture that is trained."""

    data: DataSpec
    """Where text comes from and how it becomes tokens."""

    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    """How gradients become updates."""

    trainer: TrainerSpec = Field(default_factory=TrainerSpec)
    """The training loop."""

    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    """Where and how often the state of training is saved."""

    compute: ComputeSpec = Field(default_factory=ComputeSpec)
    """The machines."""

    recovery: RecoverySpec = Field(default_factory=RecoverySpec)
    """What happens when something goes wrong."""

    export: ExportSpec = Field(default_factory=ExportSpec)
    """What is made of the trained model."""

    tracking: TrackingSpec = Field(default_factory=TrackingSpec)
    """Where metrics go."""

    suspend: bool = False
    """Save and free the machines; false again resumes."""

    ttl_after_finished: Duration | None = None
    """Delete the job this long after its end. null: never."""


class JobMetadata(BaseModel):
    """The part of Kubernetes' metadata that lateen reads; the rest is carried along."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: JobName
    """Name of the job: at most 36 characters, since names of pods are built from it."""

    namespace: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class LMTrainingJob(BaseModel):
    """A language model to be trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    api_version: Literal["lateen.dev/v1alpha1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["LMTrainingJob"] = KIND
    metadata: JobMetadata
    spec: JobSpec
    status: dict[str, Any] | None = None
    """Written by the operator, ignored on input."""
