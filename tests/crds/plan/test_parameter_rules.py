"""Which rule, rate and decay each parameter gets."""

import pytest
from lateen_api.plan.architecture import architecture
from lateen_api.plan.parameter_rules import ParameterRule, dimensions, parameter_rule, state_size
from lateen_api.spec import (
    AdafactorSpec,
    AdamWSpec,
    Gpt2Spec,
    LionSpec,
    LlamaSpec,
    MuonSpec,
    ParameterGroup,
    Qwen3Spec,
    SophiaGSpec,
)

BLOCKS = "model.blocks.blocks"
GPT2 = Gpt2Spec(seq_len=8, hidden_dim=12, num_layers=2, num_heads=3)
LLAMA = LlamaSpec(
    type="llama", seq_len=8, hidden_dim=12, num_layers=2, num_heads=6, num_kv_heads=2, intermediate_dim=20
)
QWEN3 = Qwen3Spec(type="qwen3", hidden_dim=12, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=4)


def rules(spec, model) -> dict[str, ParameterRule]:
    """By the names of checkpoints."""
    parameters = architecture(model, 11).parameters
    return {f"model.{p.name}": parameter_rule(spec, f"model.{p.name}", tuple(p.axes)) for p in parameters}


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (("layers", "embed", "qkv", "heads", "head_size"), [("embed",), ("heads", "head_size")]),
        (("layers", "embed", "heads", "group", "head_size"), [("embed",), ("heads", "group", "head_size")]),
        (("heads", "head_size", "embed"), [("heads", "head_size"), ("embed",)]),
        (("vocab", "embed"), [("vocab",), ("embed",)]),
        (("layers", "qkv", "heads", "head_size"), [("heads", "head_size")]),
        (("layers", "head_size"), [("head_size",)]),
    ],
)
def test_the_outputs_of_all_heads_are_one_dimension_and_layers_none(axes, expected):
    assert dimensions(axes) == expected


@pytest.mark.parametrize("model", [GPT2, LLAMA, QWEN3], ids=lambda model: model.type)
def test_matrices_decay_and_biases_and_norms_do_not(model):
    """Levanter's mask takes arrays of one axis as exempt, and misses biases of attention and all that is stacked."""
    by_rule = rules(AdamWSpec(weight_decay=0.1), model)
    vectors = {name for name in by_rule if name.endswith(".bias") or "norm" in name or "ln_" in name}
    assert {name for name, rule in by_rule.items() if rule.weight_decay == 0} == vectors


@pytest.mark.parametrize("model", [GPT2, LLAMA, QWEN3], ids=lambda model: model.type)
def test_muon_is_for_the_matrices_of_blocks_and_adamw_for_the_rest(model):
    by_rule = rules(MuonSpec(type="muon", learning_rate=0.02, adam_learning_rate=0.001), model)
    assert {name for name, rule in by_rule.items() if rule.rule == "muon"} == {
        name for name, rule in by_rule.items() if name.startswith(BLOCKS) and rule.weight_decay > 0
    }
    assert {(rule.rule, rule.learning_rate) for rule in by_rule.values()} == {("muon", 0.02), ("adamw", 0.001)}


def test_the_first_group_that_matches_counts():
    spec = AdamWSpec(
        learning_rate=0.5,
        weight_decay=0.25,
        groups=[
            ParameterGroup(match="*.attn.*.bias", weight_decay=0.75),
            ParameterGroup(match="*.bias", learning_rate=0.125),
            ParameterGroup(match="model.w[tp]e", learning_rate=2.0, weight_decay=0.0),
        ],
    )
    by_rule = rules(spec, GPT2)
    assert by_rule[f"{BLOCKS}.attn.c_attn.bias"] == ParameterRule("adamw", 0.5, 0.75)
    assert by_rule[f"{BLOCKS}.mlp.c_fc.bias"] == ParameterRule("adamw", 0.125, 0.0)
    assert by_rule["model.wte"] == by_rule["model.wpe"] == ParameterRule("adamw", 2.0, 0.0)
    assert by_rule[f"{BLOCKS}.mlp.c_fc.weight"] == ParameterRule("adamw", 0.5, 0.25)


@pytest.mark.parametrize(
    ("spec", "matrix", "bias", "embedding"),
    [
        (AdamWSpec(), 2 * 3 * 12 * 12, 2 * 3 * 12, 2 * 11 * 12),
        (SophiaGSpec(type="sophia-g"), 2 * 3 * 12 * 12, 2 * 3 * 12, 2 * 11 * 12),
        (LionSpec(type="lion"), 3 * 12 * 12, 3 * 12, 11 * 12),
        (MuonSpec(type="muon"), 3 * 12 * 12, 2 * 3 * 12, 2 * 11 * 12),
        (AdafactorSpec(type="adafactor"), 3 * (12 + 12), 3 * 12, 11 + 12),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_numbers_that_the_optimizer_keeps(spec, matrix, bias, embedding):
    heads = {"heads": 3, "head_size": 4}
    assert state_size(spec, f"{BLOCKS}.attn.c_attn.weight", {"embed": 12, "qkv": 3, **heads}) == matrix
    assert state_size(spec, f"{BLOCKS}.attn.c_attn.bias", {"qkv": 3, **heads}) == bias
    assert state_size(spec, "model.wte", {"vocab": 11, "embed": 12}) == embedding
