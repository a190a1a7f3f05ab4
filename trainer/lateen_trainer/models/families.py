"""Families by `spec.model.type`: which config and which model a spec is of."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import PRNGKeyArray
from lateen_api.spec.model import ModelSpec

from lateen_trainer.models import backpack, gpt2, llama, mpt
from lateen_trainer.models.backpack import Backpack, BackpackConfig
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.models.language_model import LanguageModel, ModelConfig
from lateen_trainer.models.llama import Llama, LlamaConfig
from lateen_trainer.models.mpt import Mpt, MptConfig
from lateen_trainer.models.tensor_map import TensorMap


@dataclass(frozen=True)
class Family:
    """The two classes of a family, and its names in Hugging Face's files."""

    config: type[Any]
    """Made from spec, size of the vocabulary, platform, and padded size of the vocabulary."""

    model: type[Any]
    """`model.init(config, key=…)` makes a new one."""

    tensors: TensorMap
    """How its arrays lie in the tensors of Hugging Face's format."""


FAMILIES: dict[str, Family] = {
    "gpt2": Family(Gpt2Config, Gpt2, gpt2.TENSORS),
    "llama": Family(LlamaConfig, Llama, llama.TENSORS),
    "mistral": Family(LlamaConfig, Llama, llama.TENSORS),
    "qwen2": Family(LlamaConfig, Llama, llama.TENSORS),
    "qwen3": Family(LlamaConfig, Llama, llama.TENSORS),
    "mpt": Family(MptConfig, Mpt, mpt.TENSORS),
    "backpack": Family(BackpackConfig, Backpack, backpack.TENSORS),
}
"""All families, by `spec.model.type`."""


def make_config(
    spec: ModelSpec, vocab_size: int, platform: str = "cpu", padded_vocab_size: int | None = None
) -> ModelConfig:
    """The config of a spec, for devices of a platform (cpu, gpu or tpu).

    Args:
        vocab_size: entries of the tokenizer's vocabulary.
        padded_vocab_size: those of the parameters' axis; None: as many.
    """
    return FAMILIES[spec.type].config(spec, vocab_size, platform, padded_vocab_size)


def init_model(config: ModelConfig, *, key: PRNGKeyArray) -> LanguageModel:
    """A new model with random weights."""
    return FAMILIES[config.spec.type].model.init(config, key=key)


def tensor_map(kind: str) -> TensorMap:
    """How the arrays of a family's models lie in the tensors of Hugging Face's format.

    Args:
        kind: the family, by `spec.model.type`.
    """
    return FAMILIES[kind].tensors
