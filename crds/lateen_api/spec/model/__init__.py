"""`spec.model`: the architecture that is trained, one module per family or group of relatives, chosen by `type`.

A new family is a Section of its own here, a place in `ModelSpec`, and its parameters in `lateen_api.plan.architecture`;
the trainer has it in `lateen_trainer.models.families`.
"""

from typing import Annotated

from pydantic import Field

from lateen_api.spec.model.backpack import BackpackSpec
from lateen_api.spec.model.common import ModelSection
from lateen_api.spec.model.gpt2 import Gpt2LikeSpec, Gpt2Spec
from lateen_api.spec.model.llama import LlamaLikeSpec, LlamaSpec, MistralSpec, Qwen2Spec, Qwen3Spec
from lateen_api.spec.model.mpt import MptSpec

ModelSpec = Annotated[
    Gpt2Spec | LlamaSpec | MistralSpec | Qwen2Spec | Qwen3Spec | MptSpec | BackpackSpec, Field(discriminator="type")
]
"""The architecture that is trained; `type` says of which family, gpt2 where it is left out."""

__all__ = [
    "BackpackSpec",
    "Gpt2LikeSpec",
    "Gpt2Spec",
    "LlamaLikeSpec",
    "LlamaSpec",
    "MistralSpec",
    "ModelSection",
    "ModelSpec",
    "MptSpec",
    "Qwen2Spec",
    "Qwen3Spec",
]
