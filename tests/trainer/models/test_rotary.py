"""Rotary tables and rotations beside those of transformers' Llama."""

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from haliax import Axis
from lateen_api.spec.rope import OPTIONAL_FIELDS, REQUIRED_FIELDS, RopeSpec
from lateen_trainer.models.rotary import attention_factor, rotary_frequencies, rotary_tables
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

CONTEXT = 64
"""Of the model before it was scaled."""

HF_NAMES = {"type": "rope_type", "theta": "rope_theta"}

SETTINGS = [
    {},
    {"theta": 500_000.0},
    {"type": "linear", "factor": 4.0},
    {"type": "dynamic", "factor": 2.0},
    {"type": "dynamic", "factor": 8.0, "theta": 1e6},
    {"type": "yarn", "factor": 4.0},
    {"type": "yarn", "factor": 40.0, "theta": 150_000.0},
    {"type": "yarn", "factor": 4.0, "beta_fast": 16.0, "beta_slow": 2.0},
    {"type": "yarn", "factor": 4.0, "truncate": False},
    {"type": "yarn", "factor": 4.0, "attention_factor": 0.7},
    {"type": "yarn", "factor": 4.0, "mscale": 0.707, "mscale_all_dim": 1.3},
    {"type": "yarn", "factor": 4.0, "mscale": 0.707},
    {"type": "yarn", "factor": 4.0, "beta_fast": 1.0, "beta_slow": 1.0},
    {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "theta": 500_000.0},
    {"type": "llama3", "factor": 32.0, "low_freq_factor": 2.0, "high_freq_factor": 3.0},
]


def named(setting: dict) -> str:
    return ",".join(str(value) if key == "type" else f"{key}={value:g}" for key, value in setting.items()) or "default"


def reference_rope(rope: RopeSpec, head_size: int) -> LlamaRotaryEmbedding:
    parameters = {HF_NAMES.get(name, name): value for name, value in rope.model_dump(exclude_none=True).items()}
    original = {} if rope.type in ("default", "linear", "dynamic") else {"original_max_position_embeddings": CONTEXT}
    return LlamaRotaryEmbedding(
        LlamaConfig(
            hidden_size=2 * head_size,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
            rope_parameters={**original, **parameters},
        )
    )


@pytest.mark.parametrize("head_size", [8, 64, 128])
@pytest.mark.parametrize("length", [CONTEXT - 7, CONTEXT, 5 * CONTEXT])
@pytest.mark.parametrize("setting", SETTINGS, ids=named)
def test_tables_are_those_of_transformers_within_and_beyond_the_original_context(setting, length, head_size):
    rope = RopeSpec(**setting)
    HeadSize, Pos = Axis("head_size", head_size), Axis("position", length)

    tables = rotary_tables(rope, HeadSize, hax.arange(Pos), length=length, context=CONTEXT)
    cos, sin = reference_rope(rope, head_size)(torch.zeros(1), torch.arange(length)[None])

    tolerance = length * 2**-22  # of angles up to length · 1, whose frequencies agree to the last place or two
    np.testing.assert_allclose(tables.cos.array, cos[0].numpy(), atol=tolerance)
    np.testing.assert_allclose(tables.sin.array, sin[0].numpy(), atol=tolerance)


@pytest.mark.parametrize("setting", SETTINGS, ids=named)
def test_frequencies_agree_with_transformers_in_all_their_digits(setting):
    rope = RopeSpec(**setting)
    reference = reference_rope(rope, 128)

    np.testing.assert_allclose(
        rotary_frequencies(rope, 128, length=1, context=CONTEXT), reference.inv_freq.numpy(), rtol=5e-7
    )
    assert attention_factor(rope) == pytest.approx(reference.attention_scaling, rel=1e-12)


def test_the_original_context_can_be_shorter_than_the_models():
    """A model that is trained on sequences beyond the context that `dynamic` begins to scale at."""
    rope = RopeSpec(type="dynamic", factor=2.0, original_max_position_embeddings=CONTEXT)

    longer = rotary_frequencies(rope, 16, length=256, context=256)

    reference = reference_rope(RopeSpec(type="dynamic", factor=2.0), 16)
    reference(torch.zeros(1), torch.arange(256)[None])
    np.testing.assert_allclose(longer, reference.inv_freq.numpy(), rtol=5e-7)
    assert not np.allclose(longer, rotary_frequencies(rope, 16, length=CONTEXT, context=256))


def test_yarn_scales_slow_pairs_and_leaves_fast_ones():
    """By the paper's own words: what turns less than betaSlow times in the original context is divided by factor."""
    rope = RopeSpec(type="yarn", factor=16.0, theta=1e4)
    plain = rotary_frequencies(RopeSpec(), 128, length=1, context=4096)

    scaled = rotary_frequencies(rope, 128, length=1, context=4096)

    turns = 4096 * plain / (2 * np.pi)
    np.testing.assert_array_equal(scaled[turns > 40], plain[turns > 40])
    np.testing.assert_allclose(scaled[turns < 0.8], plain[turns < 0.8] / 16, rtol=1e-6)
    between = (turns > 1.2) & (turns < 30)
    assert np.all(scaled[between] < plain[between])
    assert np.all(scaled[between] > plain[between] / 16)
    assert attention_factor(rope) == pytest.approx(0.1 * np.log(16.0) + 1)


@pytest.mark.parametrize("grouped", [False, True], ids=["ungrouped", "grouped"])
def test_rotation_is_that_of_transformers_on_any_order_of_axes(grouped):
    rope, length, head_size = RopeSpec(type="yarn", factor=4.0), 3 * CONTEXT, 16
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, length, 3, 2, head_size)).astype(np.float32)
    axes = [Axis(*axis) for axis in (("batch", 2), ("position", length), ("heads", 3), ("group", 2))]
    HeadSize = Axis("head_size", head_size)
    query = hax.named(jnp.asarray(x), (*axes, HeadSize)) if grouped else hax.named(x[:, :, :, 0], (*axes[:3], HeadSize))
    tables = rotary_tables(rope, HeadSize, hax.arange(axes[1]), length=length, context=CONTEXT)

    rotated = tables.rotate(query.rearrange((..., "position", "batch"))).rearrange(query.axes)

    cos, sin = reference_rope(rope, head_size)(torch.zeros(1), torch.arange(length)[None])
    heads = torch.from_numpy(x if grouped else x[:, :, :, 0]).flatten(2, -2)
    expected, _ = apply_rotary_pos_emb(heads, heads, cos, sin, unsqueeze_dim=2)
    np.testing.assert_allclose(rotated.array, expected.reshape(query.array.shape).numpy(), atol=2e-4)


def test_scores_depend_on_the_distance_alone():
    HeadSize, Pos = Axis("head_size", 32), Axis("position", 2000)
    tables = rotary_tables(RopeSpec(), HeadSize, hax.arange(Pos), length=Pos.size, context=Pos.size)
    query, key = (hax.random.normal(jax.random.key(i), (HeadSize,)).broadcast_axis(Pos) for i in range(2))

    q, k = tables.rotate(query).array, tables.rotate(key).array

    for distance in (0, 1, 700):
        scores = np.einsum("pd,pd->p", q[distance:], k[: Pos.size - distance])
        np.testing.assert_allclose(scores, scores[0], atol=1e-3)


def test_narrow_queries_are_rotated_by_tables_of_float32():
    HeadSize, Pos = Axis("head_size", 8), Axis("position", 1000)
    tables = rotary_tables(RopeSpec(), HeadSize, hax.arange(Pos), length=Pos.size, context=Pos.size)
    query = hax.random.normal(jax.random.key(0), (Pos, HeadSize)).astype(jnp.bfloat16)

    rotated = tables.rotate(query)

    assert tables.cos.dtype == tables.sin.dtype == jnp.float32
    assert rotated.dtype == jnp.bfloat16
    precise = tables.rotate(query.astype(jnp.float32)).array
    np.testing.assert_array_equal(rotated.array, precise.astype(jnp.bfloat16))


def test_positions_may_differ_by_sequence():
    """Those of packed documents, say, that begin again with each document."""
    HeadSize, Batch, Pos = Axis("head_size", 8), Axis("batch", 2), Axis("position", 6)
    positions = hax.named(jnp.array([[0, 1, 2, 0, 1, 2], [0, 1, 0, 1, 0, 1]]), (Batch, Pos))
    whole = rotary_tables(RopeSpec(), HeadSize, hax.arange(Pos), length=6, context=6).cos.array

    tables = rotary_tables(RopeSpec(), HeadSize, positions, length=6, context=6)

    np.testing.assert_array_equal(tables.cos.array, whole[positions.array])


def test_every_field_belongs_to_a_type():
    owned = frozenset().union(*REQUIRED_FIELDS.values(), *OPTIONAL_FIELDS.values())

    assert owned == set(RopeSpec.model_fields) - {"type", "theta"}
