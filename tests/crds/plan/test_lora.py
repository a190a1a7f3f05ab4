"""LoRA in the plan: which layers, how many parameters, what they cost."""

import math
from typing import get_args

import pytest
from crds.jobs import nano, small
from lateen_api.errors import JobError
from lateen_api.plan import Plan, make_plan, training_flops_per_token
from lateen_api.plan.lora import DEFAULT_TARGETS, linear_layers, targeted_layers
from lateen_api.spec import Gpt2Spec, LlamaSpec, LoraSpec, ModelSpec, Qwen3Spec

GPT2_SMALL = 124_439_808
LLAMA_3_8B = LlamaSpec(type="llama", intermediate_dim=14336, num_kv_heads=8)


def plan(lora: str = "{}", *overrides: str) -> Plan:
    return make_plan(
        small(f"trainer.lora={lora}", "trainer.initializeFrom=gs://bucket/gpt2", "model.hiddenDim=768", *overrides)
    )


def test_defaults_are_those_of_peft():
    lora = LoraSpec()
    assert (lora.rank, lora.alpha, lora.dropout) == (8, 8.0, 0.0)
    assert [layer.name for layer in targeted_layers(lora, Gpt2Spec())] == ["attn.c_attn"]
    assert [layer.name for layer in targeted_layers(lora, LLAMA_3_8B)] == ["self_attn.q_proj", "self_attn.v_proj"]


def test_every_family_has_default_targets_that_name_layers():
    (specs, *_) = get_args(ModelSpec)
    for spec in get_args(specs):
        model = spec(type=get_args(spec.model_fields["type"].annotation)[0])
        assert targeted_layers(LoraSpec(), model), model.type
        assert all(
            any(layer.is_named(target) for layer in linear_layers(model)) for target in DEFAULT_TARGETS[model.type]
        )


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (["c_proj"], ["attn.c_proj", "mlp.c_proj"]),
        (["attn.c_proj"], ["attn.c_proj"]),
        (["mlp.c_proj", "C_ATTN"], ["attn.c_attn", "mlp.c_proj"]),
        (["all-linear"], ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]),
    ],
)
def test_targets_are_names_of_layers_or_ends_of_their_paths(targets: list[str], names: list[str]):
    assert [layer.name for layer in targeted_layers(LoraSpec(targets=targets), Gpt2Spec())] == names


def test_a_fused_projection_is_one_layer_and_heads_are_its_outputs():
    (layer,) = targeted_layers(LoraSpec(), Gpt2Spec())
    assert (layer.inputs, layer.outputs) == ({"embed": 768}, {"qkv": 3, "heads": 12, "head_size": 64})
    _, output = targeted_layers(LoraSpec(targets=["q_proj", "o_proj"]), Qwen3Spec(type="qwen3"))
    assert math.prod(output.inputs.values()) == 32 * 128
    assert output.outputs == {"embed": 4096}


def test_parameters_are_as_many_as_peft_counts():
    """`print_trainable_parameters` of peft 0.21 with r = 8: 294,912 of GPT-2's c_attn."""
    planned = plan()
    assert planned.trainable_parameters == 294_912
    assert planned.parameters == GPT2_SMALL + 294_912
    assert plan("{rank: 16, targets: [c_proj]}").trainable_parameters == 12 * 16 * (768 + 768 + 3072 + 768)


def test_only_adapters_are_in_the_optimizers_list():
    assert {parameter.name: list(parameter.axes.values()) for parameter in plan().optimizer} == {
        "model.adapters.attn.c_attn.lora_a": [12, 768, 8],
        "model.adapters.attn.c_attn.lora_b": [12, 8, 3, 12, 64],
    }


def test_groups_are_of_adapters():
    grouped = plan("{}", "optimizer.groups=[{match: '*.lora_b', learningRate: 0.01}]")
    assert [parameter.learning_rate for parameter in grouped.optimizer] == [6e-4, 0.01]
    with pytest.raises(JobError, match=r"spec.optimizer.groups\[0\].match: '\*.wte' matches no parameter"):
        plan("{}", "optimizer.groups=[{match: '*.wte', weightDecay: 0}]")


def test_frozen_parameters_have_neither_gradients_nor_optimizer_state_nor_averages():
    gpu = "compute={accelerator: nvidia-a100-80gb, gpusPerHost: 1}"
    memory = plan("{}", gpu, "trainer.reproducibility=fast", "trainer.perDeviceParallelism=8", "trainer.ema={}").memory
    assert memory.parameters == 4 * (GPT2_SMALL + 294_912)
    assert memory.optimizer == 3 * 4 * 294_912
    assert memory.gradients == 2 * 4 * 294_912  # of a microbatch, and their sum


def test_frozen_matrices_cost_two_products_in_place_of_three():
    model, vocab = Gpt2Spec(), 50_257
    matrices = 2 * (12 * 12 * 768 * 768 + 768 * vocab)
    adapters = 3 * 2 * 294_912
    full, lora = (training_flops_per_token(model, vocab, spec) for spec in (None, LoraSpec()))
    assert full - lora == matrices - adapters


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["trainer.lora={targets: [c_attn, q_proj]}"],
            "spec.trainer.lora.targets[1]: 'q_proj' is no linear layer of a gpt2 block: expected c_attn, c_fc, c_proj "
            "or all-linear. Did you mean c_proj?",
        ),
        (
            ["trainer.lora={targets: [wte]}"],
            "spec.trainer.lora.targets[0]: 'wte' is no linear layer of a gpt2 block: expected c_attn, c_fc, c_proj or "
            "all-linear. Name one of them.",
        ),
        (
            ["export.lora=merged"],
            "spec.export.lora: is merged, and there is no spec.trainer.lora. Add that, or remove this.",
        ),
    ],
)
def test_what_names_nothing_is_refused(overrides: list[str], message: str):
    with pytest.raises(JobError) as raised:
        make_plan(nano(*overrides))
    assert str(raised.value) == message


def test_adapters_of_random_weights_are_warned_of():
    assert any("initializeFrom" in warning for warning in make_plan(nano("trainer.lora={}")).warnings)
    assert not any("initializeFrom" in warning for warning in plan().warnings)
