"""The desired state of an LMTrainingJob, one module a section of `spec`.

Pydantic models are the single source: the CRD's schema and the reference page are generated from them.
Attributes are snake_case in Python and camelCase in YAML (`seq_len` ↔ `seqLen`).
"""

from lateen_api.spec.checkpoint import CheckpointSpec, KeepRule
from lateen_api.spec.compute import ComputeSpec
from lateen_api.spec.data import DataSourceSpec, DataSpec, PrepareSpec, WeightStage
from lateen_api.spec.export import ExportSpec
from lateen_api.spec.job import (
    API_VERSION,
    GROUP,
    KIND,
    PLURAL,
    SHORT_NAME,
    JobMetadata,
    JobSpec,
    LMTrainingJob,
)
from lateen_api.spec.model import (
    BackpackSpec,
    Gpt2LikeSpec,
    Gpt2Spec,
    LlamaLikeSpec,
    LlamaSpec,
    MistralSpec,
    ModelSpec,
    MptSpec,
    Qwen2Spec,
    Qwen3Spec,
)
from lateen_api.spec.optimizer import (
    AdafactorSpec,
    AdamWSpec,
    LionSpec,
    MuonSpec,
    OptimizerSection,
    OptimizerSpec,
    ParameterGroup,
    SophiaGSpec,
    SophiaHSpec,
    SophiaSection,
)
from lateen_api.spec.recovery import RecoverySpec
from lateen_api.spec.rope import RopeSpec
from lateen_api.spec.section import Duration, Section
from lateen_api.spec.tracking import TensorBoardSpec, TrackingSpec, WandbSpec
from lateen_api.spec.trainer import LoraSpec, TrainerSpec

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "PLURAL",
    "SHORT_NAME",
    "AdafactorSpec",
    "AdamWSpec",
    "BackpackSpec",
    "CheckpointSpec",
    "ComputeSpec",
    "DataSourceSpec",
    "DataSpec",
    "Duration",
    "ExportSpec",
    "Gpt2LikeSpec",
    "Gpt2Spec",
    "JobMetadata",
    "JobSpec",
    "KeepRule",
    "LMTrainingJob",
    "LionSpec",
    "LlamaLikeSpec",
    "LlamaSpec",
    "LoraSpec",
    "MistralSpec",
    "ModelSpec",
    "MptSpec",
    "MuonSpec",
    "OptimizerSection",
    "OptimizerSpec",
    "ParameterGroup",
    "PrepareSpec",
    "Qwen2Spec",
    "Qwen3Spec",
    "RecoverySpec",
    "RopeSpec",
    "Section",
    "SophiaGSpec",
    "SophiaHSpec",
    "SophiaSection",
    "TensorBoardSpec",
    "TrackingSpec",
    "TrainerSpec",
    "WandbSpec",
    "WeightStage",
]
