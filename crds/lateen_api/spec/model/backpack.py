"""`spec.model` with `type: backpack`."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.model.gpt2 import Gpt2LikeSpec


class BackpackSpec(Gpt2LikeSpec):
    """Backpack: a GPT-2 that weighs sense vectors of the tokens. The defaults are the small one of the paper."""

    type: Literal["backpack"]
    """The family of the model."""

    seq_len: int = Field(default=512, ge=1)
    """Tokens in a training sequence. GPT-2 has no positions beyond them."""

    scale_attn_by_inverse_layer_idx: bool = True
    """Divide the attention scores of layer i by i + 1 (Mistral's stability option)."""

    num_senses: int = Field(default=16, ge=1)
    """Number of sense vectors of each token, a divisor of hiddenDim."""

    sense_intermediate_scale: int = Field(default=4, ge=1)
    """Width of the hidden layer that makes sense vectors, as a multiple of hiddenDim."""

    @property
    def sense_size(self) -> int:
        """Width of the queries and keys that make the weights of a sense."""
        return self.hidden_dim // self.num_senses
