"""`spec.model` with `type: llama`, and of the families that are Llama but for a few options.

The options are properties, so that the plan and the model ask for them without asking which family it is.
"""

from typing import Literal

from pydantic import Field

from lateen_api.spec.model.common import Activation, ModelSection
from lateen_api.spec.rope import RopeSpec

Attention = Literal["full_attention", "sliding_attention"]
"""What a layer attends to, by Hugging Face's names: all positions before, or those of the window."""


class LlamaLikeSpec(ModelSection):
    """Fields of Llama and its relatives: grouped attention, rotary positions, a gated MLP, RMS norms."""

    seq_len: int = Field(default=4096, ge=1)
    """Tokens in a training sequence. GPT-2 has no positions beyond them."""

    hidden_dim: int = Field(default=4096, ge=1)
    """Width of the residual stream."""

    num_layers: int = Field(default=32, ge=1)
    """Number of transformer blocks."""

    num_heads: int = Field(default=32, ge=1)
    """Number of attention heads."""

    activation_function: Activation = "silu"
    """The MLP's activation, by its name in Hugging Face configurations (`gelu_new` is the tanh approximation)."""

    num_kv_heads: int | None = Field(default=None, ge=1)
    """Number of heads of keys and values; each is shared by numHeads / numKvHeads heads of queries. null: numHeads."""

    head_dim: int | None = Field(default=None, ge=2)
    """Width of a head, an even number. null: hiddenDim / numHeads."""

    intermediate_dim: int = Field(default=11008, ge=1)
    """Width of the MLP's hidden layer."""

    rope: RopeSpec = Field(default_factory=RopeSpec)
    """Rotary position embeddings."""

    tie_word_embeddings: bool = False
    """Use the token embedding as the output layer."""

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_kv_heads or self.num_heads

    @property
    def group_size(self) -> int:
        """Heads of queries that share a head of keys and values."""
        return self.num_heads // self.kv_heads

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_dim // self.num_heads

    @property
    def qkv_has_bias(self) -> bool:
        """Have the projections to queries, keys and values a bias?"""
        return False

    @property
    def attention_output_has_bias(self) -> bool:
        """Has the projection of attention's output a bias?"""
        return False

    @property
    def mlp_has_bias(self) -> bool:
        """Have the three projections of the MLP a bias?"""
        return False

    @property
    def normalizes_heads(self) -> bool:
        """Are queries and keys normalised, head by head, before they are rotated?"""
        return False


class LlamaSpec(LlamaLikeSpec):
    """Llama 1, 2 and 3. The defaults are Llama 2 7B, with the context of Llama 1."""

    type: Literal["llama"]
    """The family of the model."""

    seq_len: int = Field(default=2048, ge=1)
    """Tokens in a training sequence. GPT-2 has no positions beyond them."""

    attention_bias: bool = False
    """Give the four projections of attention a bias."""

    mlp_bias: bool = False
    """Give the three projections of the MLP a bias."""

    @property
    def qkv_has_bias(self) -> bool:
        return self.attention_bias

    @property
    def attention_output_has_bias(self) -> bool:
        return self.attention_bias

    @property
    def mlp_has_bias(self) -> bool:
        return self.mlp_bias


class MistralSpec(LlamaLikeSpec):
    """Mistral: Llama with a sliding window. The defaults are Mistral 7B v0.1."""

    type: Literal["mistral"]
    """The family of the model."""

    seq_len: int = Field(default=8192, ge=1)
    """Tokens in a training sequence. GPT-2 has no positions beyond them."""

    num_kv_heads: int | None = Field(default=8, ge=1)
    """Number of heads of keys and values; each is shared by numHeads / numKvHeads heads of queries. null: numHeads."""

    intermediate_dim: int = Field(default=14336, ge=1)
    """Width of the MLP's hidden layer."""

    sliding_window: int | None = Field(default=4096, ge=1)
    """Positions that a token attends to, its own among them, in the layers that have a window. null: all before it."""

    @property
    def windows(self) -> tuple[int | None, ...]:
        return (self.sliding_window,) * self.num_layers


class QwenRopeSpec(RopeSpec):
    """Rotary position embeddings with Qwen's base."""

    theta: float = Field(default=1_000_000.0, gt=1)
    """Base of the wavelengths: pair i of a head of size d turns by theta^(-2i / d) per position."""


class QwenSpec(LlamaLikeSpec):
    """Fields of Qwen2 and Qwen3: a window in some layers only."""

    layer_norm_epsilon: float = Field(default=1e-6, gt=0)
    """Added to the variance (the mean square in RMS norms) in normalisation."""

    # Sections are frozen, which pyright does not see.
    rope: QwenRopeSpec = Field(default_factory=QwenRopeSpec)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Rotary position embeddings."""

    sliding_window: int | None = Field(default=None, ge=1)
    """Positions that a token attends to, its own among them, in the layers that have a window. null: all before it."""

    max_window_layers: int = Field(default=0, ge=0)
    """Layers, from the first, that attend to all positions although there is a slidingWindow."""

    layer_types: list[Attention] | None = Field(default=None, min_length=1, max_length=1024)
    """What each layer attends to, from the first layer. null: as maxWindowLayers says."""

    @property
    def windows(self) -> tuple[int | None, ...]:
        if self.layer_types is not None:
            return tuple(self.sliding_window if kind == "sliding_attention" else None for kind in self.layer_types)
        return tuple(self.sliding_window if i >= self.max_window_layers else None for i in range(self.num_layers))


class Qwen2Spec(QwenSpec):
    """Qwen2 and Qwen2.5: biases on queries, keys and values. The defaults are Qwen2 7B."""

    type: Literal["qwen2"]
    """The family of the model."""

    hidden_dim: int = Field(default=3584, ge=1)
    """Width of the residual stream."""

    num_layers: int = Field(default=28, ge=1)
    """Number of transformer blocks."""

    num_heads: int = Field(default=28, ge=1)
    """Number of attention heads."""

    num_kv_heads: int | None = Field(default=4, ge=1)
    """Number of heads of keys and values; each is shared by numHeads / numKvHeads heads of queries. null: numHeads."""

    intermediate_dim: int = Field(default=18944, ge=1)
    """Width of the MLP's hidden layer."""

    @property
    def qkv_has_bias(self) -> bool:
        return True


class Qwen3Spec(QwenSpec):
    """Qwen3: queries and keys are normalised head by head. The defaults are Qwen3 8B."""

    type: Literal["qwen3"]
    """The family of the model."""

    num_layers: int = Field(default=36, ge=1)
    """Number of transformer blocks."""

    num_kv_heads: int | None = Field(default=8, ge=1)
    """Number of heads of keys and values; each is shared by numHeads / numKvHeads heads of queries. null: numHeads."""

    head_dim: int | None = Field(default=128, ge=2)
    """Width of a head, an even number. null: hiddenDim / numHeads."""

    intermediate_dim: int = Field(default=12288, ge=1)
    """Width of the MLP's hidden layer."""

    attention_bias: bool = False
    """Give the four projections of attention a bias."""

    @property
    def qkv_has_bias(self) -> bool:
        return self.attention_bias

    @property
    def attention_output_has_bias(self) -> bool:
        return self.attention_bias

    @property
    def normalizes_heads(self) -> bool:
        return True
