"""Decoding with a cache beside the full forward pass of every family and option."""

from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from haliax import Axis
from lateen_trainer.models.families import init_model, make_config
from trainer.models.small_specs import ALL, GPT2, LLAMA, MISTRAL, VOCAB, small_spec

LENGTH = 24
"""Longer than the windows (5) and the original context of the scaled rotary embeddings (8)."""

PROMPT, FILLED = 7, 16
"""Tokens that come first, and their number with filling: more than the windows."""

OPTIONS = (
    "gpt2",
    "llama",
    "llama, one head of keys",
    "llama, upcast",
    "llama, dynamic",
    "llama, yarn with all options",
    "llama 3",
    "mistral",
    "qwen2, window from the second layer",
    "qwen3",
    "qwen3, types of layers",
    "mpt, heads that are no power of two",
    "mpt, norms of queries and keys",
    "mpt, learned positions",
    "backpack",
)
"""Those that attention, positions or the cache have to do with."""


def random_model(body: dict[str, Any], vocab_size: int = VOCAB) -> Any:
    """Its weights are large enough for the attention to prefer some tokens, and its logits are of the order of 1."""
    spec = small_spec({**body, "initializerRange": 0.2})
    return init_model(make_config(spec, vocab_size), key=jax.random.key(0))


def logits(model: Any, hidden: Any) -> jax.Array:
    """[batch, position, vocab]"""
    return hax.dot(hidden, model.lm_head, axis="embed").rearrange(("batch", "position", "vocab")).array


def full(model: Any, tokens: np.ndarray) -> np.ndarray:
    axes = (Axis("batch", tokens.shape[0]), Axis("position", tokens.shape[1]))
    return np.asarray(jax.jit(lambda m, t: logits(m, m.hidden(hax.named(t, axes))))(model, tokens))


def cached(model: Any, tokens: np.ndarray, prompt: int, filled: int) -> tuple[np.ndarray, Any]:
    """Logits of the prompt, at once, and of the tokens behind it, one by one; and the last cache."""
    Batch, length = Axis("batch", tokens.shape[0]), tokens.shape[1]

    @jax.jit
    def first(model, tokens, count):
        named = hax.named(tokens, (Batch, Axis("position", filled)))
        hidden, cache = model.hidden_cached(named, model.init_cache(Batch, length), count)
        return logits(model, hidden), cache

    @jax.jit
    def following(model, token, cache):
        hidden, cache = model.hidden_cached(hax.named(token, (Batch, Axis("position", 1))), cache)
        return logits(model, hidden), cache

    start = np.full((tokens.shape[0], filled), VOCAB - 1)
    start[:, :prompt] = tokens[:, :prompt]
    part, cache = first(model, start, prompt)
    parts = [part[:, :prompt]]
    for position in range(prompt, length):
        part, cache = following(model, tokens[:, position : position + 1], cache)
        parts.append(part)
    assert following._cache_size() == 1  # one program for all steps
    return np.concatenate(parts, axis=1), cache


@pytest.mark.parametrize("name", OPTIONS)
def test_logits_are_those_of_the_full_forward_at_every_position(name: str):
    model = random_model(ALL[name])
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, LENGTH))

    found, _ = cached(model, tokens, PROMPT, FILLED)

    expected = full(model, tokens)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize(("prompt", "filled"), [(1, 1), (1, 8), (24, 24)])
def test_a_prompt_may_have_any_length(prompt: int, filled: int):
    model = random_model(MISTRAL)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (1, 26))

    found, _ = cached(model, tokens, prompt, filled)

    expected = full(model, tokens)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_a_sequence_may_be_longer_than_those_of_training_where_positions_have_no_end():
    model = random_model({**LLAMA, "seqLen": 8})
    tokens = np.random.default_rng(0).integers(0, VOCAB, (1, 40))

    found, _ = cached(model, tokens, 4, 4)

    expected = full(model, tokens)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_a_window_of_all_layers_is_all_that_is_kept():
    model = random_model(MISTRAL)
    Batch = Axis("batch", 3)

    assert model.init_cache(Batch, 1000).keys.array.shape == (3, 3, 2, 5, 8)
    assert model.init_cache(Batch, 4).slots == 4
    some = random_model({**ALL["qwen3, types of layers"]})
    assert some.init_cache(Batch, 1000).slots == 1000


def test_keys_of_grouped_heads_are_kept_once():
    cache = random_model(LLAMA).init_cache(Axis("batch", 1), 24)
    assert cache.keys.array.shape == (3, 1, 2, 24, 8)  # two heads of keys for four of queries


def test_bfloat16_is_near_float32():
    model = random_model(GPT2)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (1, 24))
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), model)

    found, cache = cached(half, tokens, 4, 8)

    assert cache.keys.dtype == cache.values.dtype == jnp.bfloat16
    expected = full(model, tokens)
    np.testing.assert_allclose(found.astype(np.float32), expected, atol=0.05 * np.abs(expected).max(), rtol=0)
