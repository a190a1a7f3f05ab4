"""`spec.model` with `type: gpt2`, and what a model with a GPT-2 inside has of it."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.model.common import ModelSection


class Gpt2LikeSpec(ModelSection):
    """Fields of GPT-2, and of models that have one inside."""

    mlp_scale: int = Field(default=4, ge=1)
    """Width of the MLP's hidden layer as a multiple of hiddenDim."""

    embed_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability behind the embeddings."""

    resid_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability before each addition to the residual stream."""

    attn_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability of the attention weights."""

    scale_attn_by_inverse_layer_idx: bool = False
    """Divide the attention scores of layer i by i + 1 (Mistral's stability option)."""

    @property
    def has_dropout(self) -> bool:
        return max(self.embed_pdrop, self.resid_pdrop, self.attn_pdrop) > 0

    @property
    def keeps_attention_weights(self) -> bool:
        return self.attn_pdrop > 0


class Gpt2Spec(Gpt2LikeSpec):
    """GPT-2. The defaults are GPT-2 small."""

    type: Literal["gpt2"] = "gpt2"
    """The family of the model."""
