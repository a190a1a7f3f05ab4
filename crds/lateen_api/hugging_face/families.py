"""The keys of `config.json` by family, and the fields of `spec.model` that they are.

Defaults are those of transformers' classes, for files that leave keys out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from lateen_api.spec.model import Gpt2LikeSpec, ModelSpec, MptSpec
from lateen_api.spec.model.common import Activation


@dataclass(frozen=True)
class ConfigKeys:
    """How a family's `config.json` is read and written."""

    architecture: str
    """Class that loads it: one of transformers, or one that `auto_map` in `written` names."""

    keys: Mapping[str, tuple[str, Any]]
    """Key → field of the spec, and the key's default. A default of None: the field's own meaning of null. A key in a
    section is written with a dot: `attn_config.clip_qkv`."""

    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Keys that must have this value, which is also their default: options that lateen does not have."""

    required: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the spec that must have this value: options that lateen has and the class has not."""

    written: Mapping[str, Any] = field(default_factory=dict)
    """Keys that are written and not read."""

    def model_type(self, kind: str) -> str:
        """What config.json calls the family `kind`."""
        return self.written.get("model_type", kind)

    @property
    def is_in_transformers(self) -> bool:
        """Is the class one of transformers?"""
        return "auto_map" not in self.written

    @property
    def positions(self) -> str:
        """Key of the longest context."""
        return next(key for key, (name, _) in self.keys.items() if name == "seq_len")


_GPT2_LIKE: dict[str, tuple[str, Any]] = {
    "n_embd": ("hidden_dim", 768),
    "n_layer": ("num_layers", 12),
    "n_head": ("num_heads", 12),
    "activation_function": ("activation_function", "gelu_new"),
    "resid_pdrop": ("resid_pdrop", 0.1),
    "embd_pdrop": ("embed_pdrop", 0.1),
    "attn_pdrop": ("attn_pdrop", 0.1),
    "layer_norm_epsilon": ("layer_norm_epsilon", 1e-5),
    "initializer_range": ("initializer_range", 0.02),
    "reorder_and_upcast_attn": ("upcast_attn", False),
}
_GPT2_FIXED = {"scale_attn_weights": True, "tie_word_embeddings": True, "add_cross_attention": False}
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
        **_GPT2_LIKE,
        "scale_attn_by_inverse_layer_idx": ("scale_attn_by_inverse_layer_idx", False),
        "vocab_size": ("vocab_size", 50257),
    },
    _GPT2_FIXED,
)

_PUBLISHED_BACKPACK = "stanfordnlp/backpack-gpt2"
_BACKPACK = ConfigKeys(
    "BackpackGPT2LMHeadModel",
    {
        "n_positions": ("seq_len", 512),
        **_GPT2_LIKE,
        "scale_attn_by_inverse_layer_idx": ("scale_attn_by_inverse_layer_idx", True),
        "num_senses": ("num_senses", 16),
        "sense_intermediate_scale": ("sense_intermediate_scale", 4),
        "vocab_size": ("vocab_size", 50264),
    },
    _GPT2_FIXED,
    # The block of the sense network has this width whatever n_inner says.
    required={"mlp_scale": 4},
    # The class of its configuration is a GPT2Config, and has that one's type.
    written={
        "model_type": "gpt2",
        "auto_map": {
            "AutoConfig": f"{_PUBLISHED_BACKPACK}--configuration_backpack_gpt2.BackpackGPT2Config",
            "AutoModelForCausalLM": f"{_PUBLISHED_BACKPACK}--modeling_backpack_gpt2.BackpackGPT2LMHeadModel",
        },
    },
)

_MPT = ConfigKeys(
    "MptForCausalLM",
    {
        "max_seq_len": ("seq_len", 2048),
        "d_model": ("hidden_dim", 2048),
        "n_layers": ("num_layers", 24),
        "n_heads": ("num_heads", 16),
        "expansion_ratio": ("mlp_scale", 4),
        "layer_norm_epsilon": ("layer_norm_epsilon", 1e-5),
        "initializer_range": ("initializer_range", 0.02),
        "no_bias": ("no_bias", True),
        "emb_pdrop": ("embed_pdrop", 0.0),
        "resid_pdrop": ("resid_pdrop", 0.0),
        "attn_config.attn_pdrop": ("attn_pdrop", 0),
        "attn_config.clip_qkv": ("clip_qkv", None),
        "attn_config.softmax_scale": ("softmax_scale", None),
        "attn_config.qk_ln": ("qk_ln", False),
        "attn_config.alibi": ("alibi", True),
        "attn_config.alibi_bias_max": ("alibi_bias_max", 8),
        "vocab_size": ("vocab_size", 50368),
    },
    fixed={
        "attn_config.attn_type": "multihead_attention",
        "attn_config.prefix_lm": False,
        "attn_config.attn_uses_sequence_id": False,
        "logit_scale": None,
        "embedding_fraction": 1.0,
        "tie_word_embeddings": True,
    },
    # What the class computes whatever its configuration says.
    required={
        "mlp_scale": 4,
        "activation_function": "gelu",
        "no_bias": True,
        "qk_ln": False,
        "alibi": True,
        "alibi_bias_max": 8,
    },
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
    "mpt": _MPT,
    "backpack": _BACKPACK,
}
"""By `spec.model.type`, which is also `model_type` unless another one is written."""

FREE = frozenset(
    {"gradient_checkpointing", "upcast_attn", "initializer_range", "embed_pdrop", "resid_pdrop", "attn_pdrop"}
)
"""Fields of a spec that say how a model is trained, and need not be those of the folder that it starts from."""


def free_fields(model: ModelSpec) -> frozenset[str]:
    """Fields that need not be those of config.json. The length of sequences is one where positions have no weights."""
    return FREE if has_position_weights(model) else FREE | {"seq_len"}


def has_position_weights(model: ModelSpec) -> bool:
    """Has the model weights for each position?"""
    return isinstance(model, Gpt2LikeSpec) or (isinstance(model, MptSpec) and not model.alibi)
