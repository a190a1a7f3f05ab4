"""What the rest of the trainer needs of a model, whatever its architecture."""

from collections.abc import Callable
from typing import Any, Protocol

from haliax import Axis, NamedArray
from jaxtyping import PRNGKeyArray

Resolve = Callable[[Any], Any]
"""Makes a block's parameters whole where only shards of them are at hand (FSDP gathers layer by layer)."""


class ModelConfig(Protocol):
    """The axes that others need by name."""

    @property
    def Pos(self) -> Axis:
        """Positions of the longest context."""
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
        """[vocab, embed]: logits are hidden · lm_headᵀ."""
        ...

    def hidden(self, tokens: NamedArray, *, key: PRNGKeyArray | None = ..., resolve: Resolve = ...) -> NamedArray:
        """[batch, position] tokens → [batch, position, embed]; `key` is for dropout."""
        ...
