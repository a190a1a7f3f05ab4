"""Parameters and FLOPs."""

from lateen_api.plan import parameter_count, training_flops_per_token
from lateen_api.spec import ModelSpec

NANO = ModelSpec(hidden_dim=128, num_heads=4, num_layers=4, seq_len=256)


def test_gpt2_small_has_as_many_parameters_as_published():
    assert parameter_count(ModelSpec(), 50_257) == 124_439_808


def test_gpt2_xl_has_as_many_parameters_as_published():
    assert parameter_count(ModelSpec(hidden_dim=1600, num_heads=25, num_layers=48), 50_257) == 1_557_611_200


def test_nano_has_859008_parameters():
    assert parameter_count(NANO, 257) == 859_008


def test_gpt2_small_costs_876303876096_flops_an_example():
    assert training_flops_per_token(ModelSpec(), 50_257) * 1024 == 876_303_876_096


def test_flops_are_about_six_a_parameter_of_a_large_model_with_short_sequences():
    model = ModelSpec(hidden_dim=8192, num_heads=64, num_layers=80, seq_len=512)
    flops, parameters = training_flops_per_token(model, 50_257), parameter_count(model, 50_257)
    assert 6.0 < flops / parameters < 6.1
