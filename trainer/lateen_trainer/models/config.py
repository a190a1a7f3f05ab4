"""What the configs of all families have in common."""

from dataclasses import dataclass

from haliax import Axis
from lateen_api.spec.model import ModelSection


@dataclass(frozen=True)
class TransformerConfig:
    """The spec of a model, and its axes, each named once. A family adds those of its own."""

    spec: ModelSection
    vocab_size: int
    platform: str = "cpu"
    """Of the devices that the model is compiled for: attention has kernels of its own on each."""

    padded_vocab_size: int | None = None
    """Length of the vocabulary's axis, so that it can be divided; None: `vocab_size`. What is padded is zero."""

    Pos = property(lambda self: Axis("position", self.spec.seq_len))
    Vocab = property(lambda self: Axis("vocab", self.padded_vocab_size or self.vocab_size))
    Embed = property(lambda self: Axis("embed", self.spec.hidden_dim))
    Layers = property(lambda self: Axis("layers", self.spec.num_layers))
    HeadSize = property(lambda self: Axis("head_size", self.spec.head_size))
