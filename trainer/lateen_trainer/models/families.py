"""Families by `spec.model.type`: which config and which model a spec is of."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import PRNGKeyArray
from lateen_api.spec.model import ModelSpec

from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.models.language_model import LanguageModel, ModelConfig
from lateen_trainer.models.llama import Llama, LlamaConfig


@dataclass(frozen=True)
class Family:
    """The two classes of a family."""

    config: type[Any]
    """Made from spec, size of the vocabulary, and platform."""

    model: type[Any]
    """`model.init(config, key=…)` makes a new one."""


FAMILIES: dict[str, Family] = {
    "gpt2": Family(Gpt2Config, Gpt2),
    "llama": Family(LlamaConfig, Llama),
    "mistral": Family(LlamaConfig, Llama),
    "qwen2": Family(LlamaConfig, Llama),
    "qwen3": Family(LlamaConfig, Llama),
}
"""All families, by `spec.model.type`."""


def make_config(spec: ModelSpec, vocab_size: int, platform: str = "cpu") -> ModelConfig:
    """The config of a spec, for devices of a platform (cpu, gpu or tpu)."""
    return FAMILIES[spec.type].config(spec, vocab_size, platform)


def init_model(config: ModelConfig, *, key: PRNGKeyArray) -> LanguageModel:
    """A new model with random weights."""
    return FAMILIES[config.spec.type].model.init(config, key=key)
