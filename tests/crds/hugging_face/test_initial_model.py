"""`spec.model` of jobs that begin with a folder in Hugging Face's format."""

import json
from pathlib import Path
from typing import Any

import pytest
from lateen_api.errors import JobError
from lateen_api.hugging_face.initial_model import with_initial_model
from lateen_api.plan import make_plan
from lateen_api.spec import LMTrainingJob

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "vocab_size": 320,
}
STATED = {
    "type": "llama", "hiddenDim": 64, "intermediateDim": 96, "numLayers": 2, "numHeads": 4, "numKvHeads": 2,
    "seqLen": 128, "rope": {"theta": 500000},
}  # fmt: skip


def job(folder: object, model: dict[str, Any] | None = None) -> LMTrainingJob:
    """A job that begins with a folder."""
    spec = {
        "data": {"tokenizer": "bytes", "trainUrls": ["a.txt"]},
        "trainer": {"trainBatchSize": 8, "initializeFrom": str(folder)},
        **({} if model is None else {"model": model}),
    }
    return LMTrainingJob.model_validate({"metadata": {"name": "tiny"}, "spec": spec})


def write(folder: Path, **changes: Any) -> Path:
    """A folder with a configuration."""
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    return folder


def test_a_model_that_is_left_out_is_read(tmp_path):
    resolved = with_initial_model(job(write(tmp_path)))

    plan = make_plan(resolved)
    assert (resolved.spec.model.type, resolved.spec.model.seq_len, plan.vocab_size) == ("llama", 512, 320)
    # 2 tables, a last norm; per layer queries and output, keys and values, MLP, two norms.
    assert plan.parameters == 2 * 320 * 64 + 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96 + 2 * 64)


def test_how_to_train_may_be_stated_alone(tmp_path):
    model = with_initial_model(
        job(write(tmp_path), {"type": "llama", "seqLen": 64, "gradientCheckpointing": False})
    ).spec.model

    assert (model.seq_len, model.gradient_checkpointing, model.hidden_dim) == (64, False, 64)


def test_a_stated_model_that_is_the_same_stays_and_gets_the_vocabulary(tmp_path):
    model = with_initial_model(job(write(tmp_path), STATED)).spec.model

    assert (model.seq_len, model.vocab_size) == (128, 320)


def test_each_field_that_differs_is_named_with_both_values(tmp_path):
    folder = write(tmp_path)

    with pytest.raises(JobError) as caught:
        with_initial_model(job(folder, {**STATED, "numLayers": 3, "rope": {"theta": 10000}, "vocabSize": 321}))

    where = f"config.json of spec.trainer.initializeFrom {folder} has"
    remedy = "expected the same. Leave spec.model out to take it from there."
    assert [(error.where, error.message) for error in caught.value.errors] == [
        ("spec.model.numLayers", f"is 3, and {where} 2: {remedy}"),
        ("spec.model.vocabSize", f"is 321, and {where} 320: {remedy}"),
        (
            "spec.model.rope",
            f'is {{"type": "default", "theta": 10000.0}}, and {where} '
            f'{{"type": "default", "theta": 500000.0}}: {remedy}',
        ),
    ]


def test_another_family_is_the_only_difference_that_is_named(tmp_path):
    folder = write(tmp_path)

    with pytest.raises(JobError) as caught:
        with_initial_model(job(folder, {"type": "mistral", "seqLen": 64}))

    assert str(caught.value) == (
        f"spec.model.type: is 'mistral', and config.json of spec.trainer.initializeFrom {folder} has 'llama': expected "
        "the same. Leave spec.model out to take it from there."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "t5"}, "model_type is 't5': expected one of gpt2, llama, mistral, qwen2, qwen3, mpt"),
        ({"model_type": "backpack"}, "model_type is 'backpack': expected one of gpt2, llama"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide': input should be a valid integer"),
        (
            {"hidden_act": "mish"},
            "hidden_act is 'mish': expected one of gelu_new, gelu, relu, silu, quick_gelu, gelu_pytorch_tanh",
        ),
        (
            {"model_type": "gpt2", "activation_function": "gelu_10"},
            "activation_function is 'gelu_10': expected one of gelu_new, gelu,",
        ),
        (
            {"rope_scaling": {"rope_type": "longrope", "factor": 2}},
            "rope_type is 'longrope': expected one of default, linear, dynamic, yarn, llama3",
        ),
        (
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "partial_rotary_factor is 0.5: expected heads that are rotated whole, 1.0",
        ),
        (
            {"quantization_config": {"bits": 4}},
            "quantization_config is set: expected weights that are not quantised",
        ),
        (
            {"model_type": "gpt2", "n_inner": 100},
            "n_inner is 100: expected a multiple of n_embd, 768",
        ),
        (
            {"model_type": "gpt2", "scale_attn_weights": False},
            "scale_attn_weights is False: lateen's gpt2 has True only",
        ),
        ({"model_type": "mpt", "no_bias": False}, "no_bias is False: MptForCausalLM computes True only"),
        ({"model_type": "mpt", "expansion_ratio": 2}, "expansion_ratio is 2: MptForCausalLM computes 4 only"),
        (
            {"model_type": "mpt", "attn_config": {"qk_ln": True}},
            "attn_config.qk_ln is True: MptForCausalLM computes False only",
        ),
        (
            {"model_type": "mpt", "attn_config": {"attn_type": "multiquery_attention"}},
            "attn_config.attn_type is 'multiquery_attention': lateen's mpt has 'multihead_attention' only",
        ),
        ({"model_type": "mpt", "attn_config": {"clip_qkv": -1}}, "attn_config.clip_qkv is -1: input should be greater"),
        (
            {"model_type": "gpt2", "architectures": ["BackpackGPT2LMHeadModel"], "n_inner": 1536},
            "n_inner is 2: BackpackGPT2LMHeadModel computes 4 only",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_configuration_of_no_model_of_ours_is_refused(changes, message, tmp_path):
    folder = write(tmp_path, **changes)

    with pytest.raises(JobError) as caught:
        with_initial_model(job(folder))

    assert str(caught.value).startswith(f"spec.trainer.initializeFrom: is {str(folder)!r}: in config.json, {message}")


def test_a_backpack_is_told_from_a_gpt2_by_its_class(tmp_path):
    """The class of its configuration is a GPT2Config, and has that one's model_type."""
    config = {"model_type": "gpt2", "architectures": ["BackpackGPT2LMHeadModel"], "n_embd": 64, "n_head": 4}
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_senses": 8}))

    model = with_initial_model(job(tmp_path)).spec.model

    assert (model.type, model.hidden_dim, model.num_senses) == ("backpack", 64, 8)
    # The defaults of its class are not those of GPT-2.
    assert (model.seq_len, model.vocab_size, model.scale_attn_by_inverse_layer_idx) == (512, 50264, True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"type": "mpt", "qkLn": True},
            "spec.model.qkLn: is true, and spec.export.huggingFace asks for a MptForCausalLM: expected false, which is "
            "what that class computes. Leave the export out: checkpoints hold the model.",
        ),
        (
            {"type": "backpack", "mlpScale": 2},
            "spec.model.mlpScale: is 2, and spec.export.huggingFace asks for a BackpackGPT2LMHeadModel: expected 4, "
            "which is what that class computes. Leave the export out: checkpoints hold the model.",
        ),
    ],
    ids=["mpt", "backpack"],
)
def test_a_model_whose_options_the_class_lacks_is_not_exported(model, message):
    spec = {
        "data": {"tokenizer": "bytes", "trainUrls": ["a.txt"]},
        "model": model,
        "export": {"huggingFace": "out"},
        "trainer": {"trainBatchSize": 8},
    }

    with pytest.raises(JobError) as caught:
        make_plan(LMTrainingJob.model_validate({"metadata": {"name": "tiny"}, "spec": spec}))

    assert str(caught.value) == message


def test_what_is_not_json_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")

    with pytest.raises(JobError, match=r"config.json is not JSON .*Put the right file back\.$"):
        with_initial_model(job(tmp_path))


def test_rope_in_the_words_of_both_versions_of_transformers_is_the_same(tmp_path):
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128}
    (tmp_path / "4").mkdir()
    (tmp_path / "5").mkdir()
    old = write(tmp_path / "4", rope_scaling={"rope_type": "llama3", **scaling})
    new = write(
        tmp_path / "5", rope_theta=None, rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, **scaling}
    )

    models = [with_initial_model(job(folder)).spec.model for folder in (old, new)]

    assert models[0] == models[1]
    assert models[0].rope.model_dump(exclude_none=True) == {"type": "llama3", "theta": 500000.0, **scaling}


def test_a_context_that_a_scaling_starts_from_does_not_follow_a_shorter_sequence(tmp_path):
    folder = write(tmp_path, rope_scaling={"rope_type": "dynamic", "factor": 2.0})

    model = with_initial_model(job(folder, {"type": "llama", "seqLen": 64})).spec.model

    assert model.rope.original_max_position_embeddings == 512
