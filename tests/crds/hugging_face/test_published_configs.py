"""Keys of `config.json` as published models have them: what lateen reads in each."""

from typing import Any

import pytest
from lateen_api.hugging_face.config import read_model, write_config
from lateen_api.plan.transformer import parameter_count

LLAMA_3_2 = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": False,
    "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
    "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True,
    "vocab_size": 128256,
}  # fmt: skip
TINY_LLAMA = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 5632, "max_position_embeddings": 2048, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 22, "num_key_value_heads": 4, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "torch_dtype": "float32", "use_cache": True, "vocab_size": 32000,
}  # fmt: skip
SMOLLM_2 = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "hidden_act": "silu",
    "hidden_size": 576, "initializer_range": 0.041666666666666664, "intermediate_size": 1536,
    "is_llama_config": True, "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 9,
    "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_interleaved": False, "rope_scaling": None, "rope_theta": 100000, "tie_word_embeddings": True,
    "use_cache": True, "vocab_size": 49152,
}  # fmt: skip
MISTRAL_0_1 = {
    "architectures": ["MistralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "sliding_window": 4096, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True,
    "vocab_size": 32000,
}  # fmt: skip
MISTRAL_NEMO = {
    **MISTRAL_0_1, "attention_dropout": 0.0, "head_dim": 128, "hidden_size": 5120, "num_hidden_layers": 40,
    "max_position_embeddings": 131072, "rope_theta": 1000000.0, "sliding_window": None, "vocab_size": 131072,
}  # fmt: skip
QWEN_2_5 = {
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 896,
    "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
    "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True,
    "use_cache": True, "use_mrope": False, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
QWEN_3 = {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
    "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16,
    "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None,
    "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True, "use_cache": True,
    "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
QWEN_3_OF_TRANSFORMERS_5 = {
    **{key: value for key, value in QWEN_3.items() if key not in ("rope_scaling", "rope_theta")},
    "layer_types": ["full_attention"] * 28, "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
    "pad_token_id": None, "dtype": "bfloat16",
}  # fmt: skip
GPT_2 = {
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
    "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
    "resid_pdrop": 0.1, "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
    "summary_type": "cls_index", "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "vocab_size": 50257,
}  # fmt: skip
DISTILGPT_2 = {**GPT_2, "_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "n_layer": 6}


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (LLAMA_3_2, {"kv_heads": 8, "head_size": 64, "seq_len": 131072, "tie_word_embeddings": True}),
        (TINY_LLAMA, {"num_layers": 22, "kv_heads": 4, "head_size": 64, "intermediate_dim": 5632}),
        (SMOLLM_2, {"num_heads": 9, "kv_heads": 3, "head_size": 64, "tie_word_embeddings": True}),
        (MISTRAL_0_1, {"windows": (4096,) * 32, "head_size": 128}),
        (MISTRAL_NEMO, {"windows": (None,) * 40, "head_size": 128}),
        (QWEN_2_5, {"windows": (None,) * 24, "qkv_has_bias": True, "layer_norm_epsilon": 1e-6}),
        (QWEN_3, {"windows": (None,) * 28, "head_size": 128, "normalizes_heads": True}),
        (QWEN_3_OF_TRANSFORMERS_5, {"windows": (None,) * 28, "head_size": 128}),
        (GPT_2, {"num_layers": 12, "mlp_scale": 4, "resid_pdrop": 0.1, "activation_function": "gelu_new"}),
        (DISTILGPT_2, {"num_layers": 6, "hidden_dim": 768}),
    ],
    ids=["Llama 3.2", "TinyLlama", "SmolLM 2", "Mistral 0.1", "Mistral Nemo", "Qwen 2.5", "Qwen 3",
         "Qwen 3 of transformers 5", "GPT-2", "DistilGPT-2"],
)  # fmt: skip
def test_a_published_configuration_is_read_and_comes_back_unchanged(
    config: dict[str, Any], fields: dict[str, Any]
) -> None:
    model = read_model(config)

    assert {name: getattr(model, name) for name in fields} == fields
    written = write_config(model, config["vocab_size"], config)
    assert {key: written[key] for key in config} == config


def test_an_activation_with_another_name_is_kept_under_that_name() -> None:
    config = {**TINY_LLAMA, "hidden_act": "swish"}

    assert read_model(config).activation_function == "silu"
    assert write_config(read_model(config), 32000, config)["hidden_act"] == "swish"


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LLAMA_3_2, 1_235_814_400),
        (TINY_LLAMA, 1_100_048_384),
        (SMOLLM_2, 134_515_008),
        (MISTRAL_0_1, 7_241_732_096),
        (MISTRAL_NEMO, 12_247_782_400),
        (QWEN_2_5, 494_032_768),
        (QWEN_3, 596_049_920),
        (GPT_2, 124_439_808),
        (DISTILGPT_2, 81_912_576),
    ],
    ids=["Llama 3.2", "TinyLlama", "SmolLM 2", "Mistral 0.1", "Mistral Nemo", "Qwen 2.5", "Qwen 3", "GPT-2",
         "DistilGPT-2"],
)  # fmt: skip
def test_its_parameters_are_as_many_as_its_publisher_counts(config: dict[str, Any], parameters: int) -> None:
    assert parameter_count(read_model(config), config["vocab_size"]) == parameters
