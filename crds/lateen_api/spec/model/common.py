"""What the spec of every family of models has."""

from typing import Any, Literal

from pydantic import Field

from lateen_api.spec.section import Section

Activation = Literal["gelu_new", "gelu", "relu", "silu", "quick_gelu"]
"""Activations by their names in Hugging Face configurations."""


class ModelSection(Section):
    """Fields of all families. Fields carry Levanter's names in camelCase where Levanter has them.

    A family gives them defaults of its own where those of GPT-2 are not its usual ones.
    """

    type: Any
    """The family of the model. Declared here so that it comes first; each family says what it may be."""

    seq_len: int = Field(default=1024, ge=1)
    """Tokens in a training sequence. GPT-2 has no positions beyond them."""

    hidden_dim: int = Field(default=768, ge=1)
    """Width of the residual stream."""

    num_layers: int = Field(default=12, ge=1)
    """Number of transformer blocks."""

    num_heads: int = Field(default=12, ge=1)
    """Number of attention heads."""

    initializer_range: float = Field(default=0.02, gt=0)
    """Standard deviation of the normal distribution from which weights are initialised."""

    layer_norm_epsilon: float = Field(default=1e-5, gt=0)
    """Added to the variance (the mean square in RMS norms) in normalisation."""

    activation_function: Activation = "gelu_new"
    """The MLP's activation, by its name in Hugging Face configurations (`gelu_new` is the tanh approximation)."""

    gradient_checkpointing: bool = True
    """Recompute each block's activations in the backward pass rather than keep them."""

    upcast_attn: bool = False
    """Compute attention scores and their softmax in float32 whatever the compute type."""

    @property
    def head_size(self) -> int:
        """Width of a head."""
        return self.hidden_dim // self.num_heads

    @property
    def has_dropout(self) -> bool:
        """Is anything dropped in training?"""
        return False

    @property
    def keeps_attention_weights(self) -> bool:
        """Does training need all attention weights at hand? Dropout of them does."""
        return False

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Of each layer: how many positions a token attends to, its own among them; None: all before it."""
        return (None,) * self.num_layers
