"""`spec.model`: the architecture that is trained."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.section import Section


class ModelSpec(Section):
    """The architecture. The fields carry Levanter's names in camelCase."""

    type: Literal["gpt2"] = "gpt2"
    """The family of the model."""

    seq_len: int = Field(default=1024, ge=1)
    """Tokens in a training sequence, and the longest context of the model."""

    hidden_dim: int = Field(default=768, ge=1)
    """Width of the residual stream."""

    num_layers: int = Field(default=12, ge=1)
    """Number of transformer blocks."""

    num_heads: int = Field(default=12, ge=1)
    """Number of attention heads. hiddenDim must be a multiple of it."""

    mlp_scale: int = Field(default=4, ge=1)
    """Width of the MLP's hidden layer as a multiple of hiddenDim."""

    initializer_range: float = Field(default=0.02, gt=0)
    """Standard deviation of the normal distribution from which weights are initialised."""

    layer_norm_epsilon: float = Field(default=1e-5, gt=0)
    """Added to the variance in layer normalisation."""

    embed_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability behind the embeddings."""

    resid_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability before each addition to the residual stream."""

    attn_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability of the attention weights."""

    activation_function: Literal["gelu_new", "gelu", "relu", "silu", "quick_gelu"] = "gelu_new"
    """The MLP's activation, by its name in Hugging Face configurations (`gelu_new` is the tanh approximation)."""

    gradient_checkpointing: bool = True
    """Recompute each block's activations in the backward pass rather than keep them."""

    scale_attn_by_inverse_layer_idx: bool = False
    """Divide the attention scores of layer i by i + 1 (Mistral's stability option)."""

    upcast_attn: bool = False
    """Compute attention scores and their softmax in float32 whatever the compute type."""
