"""Parameters and FLOPs."""

import pytest
from lateen_api.plan import parameter_count, training_flops_per_token
from lateen_api.spec import BackpackSpec, Gpt2Spec, LlamaSpec, MistralSpec, ModelSpec, MptSpec, Qwen2Spec, Qwen3Spec

NANO = Gpt2Spec(hidden_dim=128, num_heads=4, num_layers=4, seq_len=256)


def test_gpt2_small_has_as_many_parameters_as_published():
    assert parameter_count(Gpt2Spec(), 50_257) == 124_439_808


def test_gpt2_xl_has_as_many_parameters_as_published():
    assert parameter_count(Gpt2Spec(hidden_dim=1600, num_heads=25, num_layers=48), 50_257) == 1_557_611_200


def test_nano_has_859008_parameters():
    assert parameter_count(NANO, 257) == 859_008


def test_gpt2_small_costs_876303876096_flops_an_example():
    assert training_flops_per_token(Gpt2Spec(), 50_257) * 1024 == 876_303_876_096


def test_flops_are_about_six_a_parameter_of_a_large_model_with_short_sequences():
    model = Gpt2Spec(hidden_dim=8192, num_heads=64, num_layers=80, seq_len=512)
    flops, parameters = training_flops_per_token(model, 50_257), parameter_count(model, 50_257)
    assert 6.0 < flops / parameters < 6.1


LLAMA_3_8B = LlamaSpec(type="llama", intermediate_dim=14336, num_kv_heads=8, seq_len=8192)


@pytest.mark.parametrize(
    ("model", "vocab_size", "parameters"),
    [
        (LlamaSpec(type="llama"), 32_000, 6_738_415_616),
        (LLAMA_3_8B, 128_256, 8_030_261_248),
        (
            LlamaSpec(
                type="llama",
                hidden_dim=2048,
                intermediate_dim=8192,
                num_layers=16,
                num_kv_heads=8,
                tie_word_embeddings=True,
            ),
            128_256,
            1_235_814_400,
        ),
        (MistralSpec(type="mistral"), 32_000, 7_241_732_096),
        (Qwen2Spec(type="qwen2"), 152_064, 7_615_616_512),
        (Qwen3Spec(type="qwen3"), 151_936, 8_190_735_360),
        (MptSpec(type="mpt"), 50_432, 6_649_286_656),
        (BackpackSpec(type="backpack"), 50_264, 170_083_584),
    ],
    ids=["Llama 2 7B", "Llama 3 8B", "Llama 3.2 1B", "Mistral 7B", "Qwen2 7B", "Qwen3 8B", "MPT-7B", "Backpack small"],
)
def test_families_have_as_many_parameters_as_published(model: ModelSpec, vocab_size: int, parameters: int):
    assert parameter_count(model, vocab_size) == parameters


def test_flops_of_grouped_heads_are_those_of_their_projections():
    """Scores cost the same, however many heads share a key."""
    width, head_size, layers = 4096, 128, 32
    whole, grouped = (
        training_flops_per_token(LLAMA_3_8B.model_copy(update={"num_kv_heads": heads}), 128_256) for heads in (32, 8)
    )
    assert whole - grouped == 3 * layers * 2 * (2 * width * (32 - 8) * head_size)


def test_flops_of_a_window_are_those_of_the_positions_that_it_shows():
    def flops(window: int | None) -> int:
        model = MistralSpec(type="mistral", seq_len=8192, sliding_window=window)
        return training_flops_per_token(model, 32_000)

    assert flops(None) - flops(4096) == 3 * 32 * 4096 * 32 * (4 * 128 + 3)
    assert flops(100_000) == flops(None)


def test_flops_of_layers_without_a_window_are_those_of_all_positions():
    def flops(**fields: object) -> int:
        return training_flops_per_token(Qwen2Spec.model_validate({"type": "qwen2", "seqLen": 1024, **fields}), 32_000)

    none, all_layers, half = flops(), flops(slidingWindow=256), flops(slidingWindow=256, maxWindowLayers=14)
    assert none - half == half - all_layers > 0


def test_flops_of_a_backpack_are_those_of_its_gpt2_and_of_its_senses():
    width, senses, context = 768, 16, 512
    gpt2 = training_flops_per_token(Gpt2Spec(seq_len=context), 50_257)
    backpack = training_flops_per_token(BackpackSpec(type="backpack"), 50_257)

    making = 2 * (2 * width * 4 * width) + 2 * (width * 4 * width + 4 * width * senses * width)
    weights = 2 * (width * 2 * width) + (2 * width + 3 * senses) * context
    assert backpack - gpt2 == 3 * (making + weights + 2 * senses * width * context)
