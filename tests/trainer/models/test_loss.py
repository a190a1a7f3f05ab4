"""The chunked cross entropy equals the plain one."""

import functools

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from haliax import Axis
from lateen_trainer.models import loss as loss_module
from lateen_trainer.models.loss import next_token_losses

Batch, Pos, Embed, Vocab = Axis("batch", 3), Axis("position", 7), Axis("embed", 16), Axis("vocab", 41)


@pytest.fixture
def inputs():
    keys = jax.random.split(jax.random.key(0), 4)
    hidden = hax.random.normal(keys[0], (Batch, Pos, Embed))
    head = hax.random.normal(keys[1], (Vocab, Embed))
    targets = hax.random.randint(keys[2], (Batch, Pos), 0, Vocab.size)
    weights = hax.random.uniform(keys[3], (Batch, Pos))
    return hidden, head, targets, weights


def plain(hidden, head, targets, weights):
    logits = hax.dot(hidden, head, axis="embed").rearrange((..., "vocab")).array
    log_probabilities = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probabilities, targets.array[..., None], axis=-1)[..., 0]
    return -jnp.sum(picked * weights.array)


@pytest.mark.parametrize(
    "positions", [21, 7, 5, 1], ids=["one chunk", "equal chunks", "uneven chunks", "single positions"]
)
def test_value_and_gradients_equal_the_plain_formula(inputs, positions, monkeypatch):
    monkeypatch.setattr(loss_module, "positions_in_a_chunk", lambda length, vocab: positions)
    ours = jax.value_and_grad(lambda h, w: 3 * next_token_losses(h, w, *inputs[2:]), argnums=(0, 1))(*inputs[:2])
    expected = jax.value_and_grad(lambda h, w: 3 * plain(h, w, *inputs[2:]), argnums=(0, 1))(*inputs[:2])

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), ours, expected)


def test_a_position_of_weight_zero_counts_nothing_even_if_its_hidden_state_is_infinite(inputs):
    hidden, head, targets, weights = inputs
    without = hax.where(hax.arange(Pos) < 5, weights, 0.0)
    broken = hax.where(hax.arange(Pos).broadcast_axis(hidden.axes) < 5, hidden, jnp.inf)

    expected = plain(hidden, head, targets, without)

    np.testing.assert_allclose(
        next_token_losses(broken, head, targets, without.rearrange((Batch, Pos))), expected, rtol=1e-5
    )


@pytest.mark.parametrize("positions", [21, 5], ids=["one chunk", "uneven chunks"])
def test_padding_of_the_vocabulary_is_outside_the_softmax(inputs, positions, monkeypatch):
    """Whatever stands in the padded rows: the loss is that of the vocabulary alone, and they get no gradient."""
    monkeypatch.setattr(loss_module, "positions_in_a_chunk", lambda length, vocab: positions)
    hidden, head, targets, weights = inputs
    padded = hax.concatenate("vocab", [head, hax.full((Vocab.resize(23), Embed), 100.0)])
    loss = functools.partial(next_token_losses, targets=targets, weights=weights, vocab_size=Vocab.size)

    value, (hidden_gradient, head_gradient) = jax.value_and_grad(loss, argnums=(0, 1))(hidden, padded)

    expected = jax.value_and_grad(lambda h, w: plain(h, w, targets, weights), argnums=(0, 1))(hidden, head)
    ours = (value, (hidden_gradient, head_gradient.slice("vocab", start=0, length=Vocab.size)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), ours, expected)
    np.testing.assert_array_equal(head_gradient.array[Vocab.size :], 0)


def test_the_whole_batchs_logits_never_exist(inputs, monkeypatch):
    monkeypatch.setattr(loss_module, "positions_in_a_chunk", lambda length, vocab: 4)
    hidden, head, targets, weights = inputs
    jaxpr = str(jax.make_jaxpr(jax.grad(lambda h: next_token_losses(h, head, targets, weights)))(hidden))

    assert "f32[4,41]" in jaxpr
    assert "f32[21,41]" not in jaxpr
