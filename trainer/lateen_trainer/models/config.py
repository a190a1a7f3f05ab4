"""What the configs of all families have in common."""

from dataclasses import dataclass

import jax.numpy as jnp
from haliax import Axis
from lateen_api.spec.model import ModelSection

from lateen_trainer.models.cache import KeyValueCache


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
    Heads = property(lambda self: Axis("heads", self.spec.num_heads))
    """Of keys and values."""

    def init_cache(self, Batch: Axis, capacity: int, dtype: jnp.dtype, window: int | None = None) -> KeyValueCache:
        """An empty cache of keys and values for sequences of at most `capacity` tokens.

        Args:
            dtype: of keys and values.
            window: of all layers; None: some layer sees all tokens.
        """
        return KeyValueCache.init(
            (self.Layers, Batch, self.Heads),
            capacity=capacity,
            window=window,
            key_size=self.HeadSize.size,
            value_size=self.HeadSize.size,
            dtype=dtype,
        )
