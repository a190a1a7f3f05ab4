"""The distribution that tokens are drawn from, beside NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_trainer.generate.sampling import Sampling, draw, restricted

LOGITS = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32) * 2
DRAWN = 20_000


def by_numpy(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Probabilities of one sequence's next token, from the definitions."""
    probabilities = np.exp(logits / sampling.temperature)
    order = np.argsort(-logits)
    if sampling.top_k is not None:
        probabilities[order[sampling.top_k :]] = 0
    probabilities /= probabilities.sum()
    total, nucleus = 0.0, []
    for token in order:
        if total >= sampling.top_p:
            break
        nucleus.append(token)
        total += probabilities[token]
    outside = np.setdiff1d(np.arange(len(logits)), nucleus)
    probabilities[outside] = 0
    return probabilities / probabilities.sum()


SETTINGS = [
    Sampling(),
    Sampling(temperature=0.5),
    Sampling(temperature=3.0, top_p=0.8),
    Sampling(top_k=5),
    Sampling(top_k=1),
    Sampling(temperature=1.5, top_k=20, top_p=0.6),
    Sampling(top_p=0.01),
]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_probabilities_are_those_of_the_definition(sampling: Sampling):
    found = jax.nn.softmax(restricted(jnp.asarray(LOGITS), sampling), axis=-1)

    expected = np.stack([by_numpy(row.astype(np.float64), sampling) for row in LOGITS])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(found) == 0, expected == 0)


def test_tokens_are_drawn_with_these_probabilities():
    sampling = Sampling(temperature=1.5, top_k=20, top_p=0.8)
    logits = jnp.broadcast_to(LOGITS[0], (DRAWN, 50))

    tokens = draw(logits, jax.random.split(jax.random.key(0), DRAWN), sampling)

    frequencies = np.bincount(tokens, minlength=50) / DRAWN
    expected = by_numpy(LOGITS[0].astype(np.float64), sampling)
    deviation = np.sqrt(expected * (1 - expected) / DRAWN)
    assert (np.abs(frequencies - expected) <= 4 * deviation).all()


def test_without_temperature_the_likeliest_token_is_taken():
    keys = jax.random.split(jax.random.key(0), 3)
    np.testing.assert_array_equal(draw(jnp.asarray(LOGITS), keys, Sampling(temperature=0)), LOGITS.argmax(-1))


def test_equally_likely_tokens_count_by_their_number():
    """Without an order the nucleus of equal probabilities would be all of them or none."""
    found = restricted(jnp.zeros((1, 4)), Sampling(top_p=0.5))
    np.testing.assert_array_equal(np.isfinite(found[0]), [True, True, False, False])
