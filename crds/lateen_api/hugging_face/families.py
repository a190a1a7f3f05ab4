"""The keys of `config.json` by family, and the fields of `spec.model` that they are.

Defaults are those of transformers' classes, for files that leave keys out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from lateen_api.spec.model import ModelSpec
from lateen_api.spec.model.common import Activation


@dataclass(frozen=True)
class ConfigKeys:
    """How a family's `config.json` is read and written."""

    architecture: str
    """Class of transformers that loads it."""

    keys: Mapping[str, tuple[str, Any]]
    """Key → field of the spec, and the key's default. A default of None: the field's own meaning of null."""

    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Keys that must have this value, which is also their default: options that lateen does not have."""

    @property
    def positions(self) -> str:
        """Key of the longest context."""
        return next(key for key, (name, _) in self.keys.items() if name == "seq_len")


_ALIASES = {
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python_tanh": "gelu_new",
    "gelu_accurate": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_python": "gelu",
    "swish": "silu",
}
"""Other names in transformers (`activations.ACT2FN`) of the same functions. Its `gelu_10` and others are clipped, and
are none of these."""

ACTIVATIONS: Mapping[str, str] = {**{name: name for name in get_args(Activation)}, **_ALIASES}
"""Names of activations in `config.json`, and which of the spec's each is."""

_GPT2 = ConfigKeys(
    "GPT2LMHeadModel",
    {
        "n_positions": ("seq_len", 1024),
        "n_embd": ("hidden_dim", 768),
        "n_layer": ("num_layers", 12),
        "n_head": ("num_heads", 12),
        "activation_function": ("activation_function", "gelu_new"),
        "resid_pdrop": ("resid_pdrop", 0.1),
        "embd_pdrop": ("embed_pdrop", 0.1),
        "attn_pdrop": ("attn_pdrop", 0.1),
        "layer_norm_epsilon": ("layer_norm_epsilon", 1e-5),
        "initializer_range": ("initializer_range", 0.02),
        "scale_attn_by_inverse_layer_idx": ("scale_attn_by_inverse_layer_idx", False),
        "reorder_and_upcast_attn": ("upcast_attn", False),
        "vocab_size": ("vocab_size", 50257),
    },
    fixed={"scale_attn_weights": True, "tie_word_embeddings": True, "add_cross_attention": False},
)

_LLAMA_LIKE: dict[str, tuple[str, Any]] = {
    "num_key_value_heads": ("num_kv_heads", None),
    "hidden_act": ("activation_function", "silu"),
    "initializer_range": ("initializer_range", 0.02),
    "tie_word_embeddings": ("tie_word_embeddings", False),
}

FAMILIES: dict[str, ConfigKeys] = {
    "gpt2": _GPT2,
    "llama": ConfigKeys(
        "LlamaForCausalLM",
        {
            "max_position_embeddings": ("seq_len", 2048),
            "hidden_size": ("hidden_dim", 4096),
            "num_hidden_layers": ("num_layers", 32),
            "num_attention_heads": ("num_heads", 32),
            "intermediate_size": ("intermediate_dim", 11008),
            "head_dim": ("head_dim", None),
            "rms_norm_eps": ("layer_norm_epsilon", 1e-6),
            "attention_bias": ("attention_bias", False),
            "mlp_bias": ("mlp_bias", False),
            "vocab_size": ("vocab_size", 32000),
            **_LLAMA_LIKE,
        },
    ),
    "mistral": ConfigKeys(
        "MistralForCausalLM",
        {
            "max_position_embeddings": ("seq_len", 4096 * 32),
            "hidden_size": ("hidden_dim", 4096),
            "num_hidden_layers": ("num_layers", 32),
            "num_attention_heads": ("num_heads", 32),
            "intermediate_size": ("intermediate_dim", 14336),
            "head_dim": ("head_dim", None),
            "rms_norm_eps": ("layer_norm_epsilon", 1e-6),
            "sliding_window": ("sliding_window", 4096),
            "vocab_size": ("vocab_size", 32000),
            **_LLAMA_LIKE,
            "num_key_value_heads": ("num_kv_heads", 8),
        },
    ),
    "qwen2": ConfigKeys(
        "Qwen2ForCausalLM",
        {
            "max_position_embeddings": ("seq_len", 32768),
            "hidden_size": ("hidden_dim", 4096),
            "num_hidden_layers": ("num_layers", 32),
            "num_attention_heads": ("num_heads", 32),
            "intermediate_size": ("intermediate_dim", 22016),
            "head_dim": ("head_dim", None),
            "rms_norm_eps": ("layer_norm_epsilon", 1e-6),
            "max_window_layers": ("max_window_layers", 28),
            "layer_types": ("layer_types", None),
            "vocab_size": ("vocab_size", 151936),
            **_LLAMA_LIKE,
            "num_key_value_heads": ("num_kv_heads", 32),
        },
    ),
    "qwen3": ConfigKeys(
        "Qwen3ForCausalLM",
        {
            "max_position_embeddings": ("seq_len", 32768),
            "hidden_size": ("hidden_dim", 4096),
            "num_hidden_layers": ("num_layers", 32),
            "num_attention_heads": ("num_heads", 32),
            "intermediate_size": ("intermediate_dim", 22016),
            "head_dim": ("head_dim", 128),
            "rms_norm_eps": ("layer_norm_epsilon", 1e-6),
            "attention_bias": ("attention_bias", False),
            "max_window_layers": ("max_window_layers", 28),
            "layer_types": ("layer_types", None),
            "vocab_size": ("vocab_size", 151936),
            **_LLAMA_LIKE,
            "num_key_value_heads": ("num_kv_heads", 32),
        },
    ),
}
"""By `model_type`, which is also `spec.model.type`."""

FREE = frozenset(
    {"gradient_checkpointing", "upcast_attn", "initializer_range", "embed_pdrop", "resid_pdrop", "attn_pdrop"}
)
"""Fields of a spec that say how a model is trained, and need not be those of the folder that it starts from."""


def free_fields(model: ModelSpec) -> frozenset[str]:
    """Fields that need not be those of config.json. The length of sequences is one where positions have no weights."""
    return FREE if model.type == "gpt2" else FREE | {"seq_len"}
