"""`spec.model` with `type: mpt`."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.model.common import Activation, ModelSection


class MptSpec(ModelSection):
    """MPT: attention with linear biases, no biases of layers, output layer tied to the embedding. The defaults are
    MPT-7B."""

    type: Literal["mpt"]
    """The family of the model."""

    seq_len: int = Field(default=2048, ge=1)
    """Tokens in a training sequence. GPT-2 has no positions beyond them, nor has MPT without alibi."""

    hidden_dim: int = Field(default=4096, ge=1)
    """Width of the residual stream. A multiple of numHeads."""

    num_layers: int = Field(default=32, ge=1)
    """Number of transformer blocks."""

    num_heads: int = Field(default=32, ge=1)
    """Number of attention heads; any number has slopes of its own."""

    mlp_scale: int = Field(default=4, ge=1)
    """Width of the MLP's hidden layer as a multiple of hiddenDim."""

    activation_function: Activation = "gelu"
    """The MLP's activation, by its name in Hugging Face configurations."""

    alibi: bool = True
    """Bias the attention scores by the distance, with a slope per head. false: learn an embedding of each position."""

    alibi_bias_max: float = Field(default=8.0, gt=0)
    """The least slope of the linear biases is 2 to the minus this. It has no effect without alibi."""

    no_bias: bool = True
    """Leave the bias out of all linear layers and norms."""

    clip_qkv: float | None = Field(default=None, gt=0)
    """Queries, keys and values are clipped to at most this, and minus this at least; null: not at all."""

    qk_ln: bool = False
    """Normalise queries and keys, each over all heads, before the scores."""

    softmax_scale: float | None = Field(default=None, gt=0)
    """Factor of the attention scores. null: 1 / √(width of a head)."""

    embed_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability behind the embeddings."""

    resid_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability before each addition to the residual stream."""

    attn_pdrop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability of the attention weights."""

    @property
    def has_dropout(self) -> bool:
        return max(self.embed_pdrop, self.resid_pdrop, self.attn_pdrop) > 0

    @property
    def keeps_attention_weights(self) -> bool:
        return self.attn_pdrop > 0
