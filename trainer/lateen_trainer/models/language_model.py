"""What the rest of the trainer needs of a model, whatever its architecture."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
from haliax import Axis, NamedArray
from jaxtyping import PRNGKeyArray
from lateen_api.spec.model import ModelSpec

Resolve = Callable[[Any], Any]
"""Makes a block's parameters whole where only shards of them are at hand (FSDP gathers layer by layer)."""


class ModelConfig(Protocol):
    """What others need to know of a model without its parameters."""

    @property
    def spec(self) -> ModelSpec:
        """`spec.model` of the job."""
        ...

    @property
    def vocab_size(self) -> int:
        """Entries of the vocabulary. The axis "vocab" of the parameters may be longer; what is behind is padding."""
        ...

    @property
    def Pos(self) -> Axis:
        """Positions of a training sequence."""
        ...

    @property
    def longest_context(self) -> int | None:
        """Most positions that the model can have; None: there is no limit."""
        ...


class LanguageModel(Protocol):
    """A pytree of NamedArrays that maps tokens to hidden states, and hidden states to logits."""

    @property
    def config(self) -> ModelConfig:
        """The model's axes."""
        ...

    @property
    def blocks(self) -> Any:
        """The stack of layers; the only part whose parameters may be shards when `hidden` is called."""
        ...

    @property
    def lm_head(self) -> NamedArray:
        """[vocab, embed]: logits are hidden · lm_headᵀ, of which the first `config.vocab_size` mean something."""
        ...

    def hidden(
        self,
        tokens: NamedArray,
        *,
        segments: NamedArray | None = ...,
        key: PRNGKeyArray | None = ...,
        resolve: Resolve = ...,
    ) -> NamedArray:
        """[batch, position] tokens → [batch, position, embed].

        Args:
            segments: [batch, position] numbers of the documents in each sequence, in ascending order: each document
                is computed as if it stood alone. None: a sequence is one document.
            key: for dropout.
        """
        ...

    def init_cache(self, Batch: Axis, capacity: int) -> Any:
        """What is kept of the tokens of a batch of sequences, of at most `capacity` tokens each: of none yet. Its
        `repeat(Batch)` is that of a batch of one for a batch of equal sequences."""
        ...

    def hidden_cached(self, tokens: NamedArray, cache: Any, count: jax.Array | int = ...) -> tuple[NamedArray, Any]:
        """`hidden` of the tokens that come next, and the cache with them.

        Args:
            tokens: [batch, position], either the first of all, of which `count` are no filling, or the next one.
        """
        ...
