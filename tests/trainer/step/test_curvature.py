"""Sophia's two estimators against Hessians in closed form."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from haliax import Axis, NamedArray
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.models.loss import draw_labels
from lateen_trainer.step.curvature import gauss_newton_bartlett, hutchinson
from lateen_trainer.step.derivatives import gradient, hessian_product
from lateen_trainer.step.elastic import lane_gradients, order_of_lanes
from lateen_trainer.step.fsdp import Fsdp
from lateen_trainer.step.gradients import batch_gradients
from lateen_trainer.step.microbatch import whole_loss
from trainer.models.small_specs import small_spec

Vocab, Embed = Axis("vocab", 5), Axis("embed", 3)
TOKENS = np.random.default_rng(0).integers(0, Vocab.size, (2, 2, 5)).astype(np.int32)
BATCH = Batch(TOKENS)
FEATURES = np.random.default_rng(1).standard_normal((Vocab.size, Embed.size)).astype(np.float32)
RULES = ShardingRules(make_mesh(1, 1, jax.devices()[:1]), most_data=1)


class Blocks(eqx.Module):
    """What a model has of its stack, without layers."""

    gradient_checkpointing: bool = eqx.field(static=True, default=False)


@dataclass(frozen=True)
class Config:
    """What the loss asks of it."""

    vocab_size: int


class Softmax(eqx.Module):
    """Softmax regression of the next token on fixed features of this one: its Hessian has a closed form."""

    lm_head: NamedArray  # [Vocab, Embed]
    blocks: Blocks
    config: Config = eqx.field(static=True, default=Config(Vocab.size))

    def hidden(self, tokens: NamedArray, *, key=None, resolve=None) -> NamedArray:
        del key, resolve
        return hax.named(FEATURES, (Vocab, Embed)).take("vocab", tokens).rearrange((..., "position", "embed"))


MODEL = Softmax(hax.random.normal(jax.random.key(3), (Vocab, Embed)), Blocks())


def hessian_diagonal(counted: np.ndarray | None = None) -> np.ndarray:
    """[Vocab, Embed]: the mean over tokens of p_v (1 - p_v) x_e². The Hessian is that of Gauss and Newton as well,
    since the logits are linear in the parameters."""
    inputs = TOKENS[..., :-1]
    features = FEATURES[inputs.reshape(-1) if counted is None else inputs[counted]].astype(np.float64)
    logits = features @ np.asarray(MODEL.lm_head.array, np.float64).T
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return np.einsum("nv,ne->ve", p * (1 - p), features**2) / len(features)


def sum_gradients(mode: str) -> Any:
    """The sum over a batch in a mode of the step."""
    order = order_of_lanes(gather_once=True) if mode == "elastic" else None
    function = lane_gradients if mode == "elastic" else batch_gradients
    return partial(function, rules=RULES, fsdp=Fsdp(RULES, jnp.dtype("float32"), order), gather_once=True)


def mean_of_estimates(estimate: Any, count: int, batch: Batch = BATCH) -> np.ndarray:
    """Of so many keys."""

    @jax.jit
    def total(keys):
        return jax.lax.map(lambda key: estimate(MODEL, batch, key=key).lm_head.array, keys, batch_size=256).mean(0)

    return np.asarray(total(jax.random.split(jax.random.key(0), count)))


@pytest.mark.parametrize("mode", ["elastic", "fast"])
def test_gauss_newton_bartlett_is_the_diagonal_of_the_hessian_in_the_mean(mode):
    """1 / √count is the error that is to be expected, times √2 or so."""
    mean = mean_of_estimates(partial(gauss_newton_bartlett, sum_gradients(mode)), 1 << 16)
    np.testing.assert_allclose(mean, hessian_diagonal(), rtol=0.02)


@pytest.mark.parametrize("mode", ["elastic", "fast"])
def test_gauss_newton_bartlett_draws_labels_of_counted_tokens_only(mode):
    counted = np.ones_like(TOKENS, np.uint8)
    counted[0], counted[1, 1, 2:4] = 0, 0
    mean = mean_of_estimates(partial(gauss_newton_bartlett, sum_gradients(mode)), 1 << 16, Batch(TOKENS, None, counted))
    np.testing.assert_allclose(mean, hessian_diagonal(counted[..., 1:] == 1), rtol=0.03)


@pytest.mark.parametrize("mode", ["elastic", "fast"])
def test_hutchinson_is_the_diagonal_of_the_hessian_in_the_mean(mode):
    mean = mean_of_estimates(partial(hutchinson, sum_gradients(mode), rules=RULES), 1 << 16)
    np.testing.assert_allclose(mean, hessian_diagonal(), rtol=0.02)


def test_labels_are_drawn_from_the_models_distribution():
    count = 40_000
    Batch, Pos = Axis("batch", count), Axis("position", 1)
    hidden = hax.broadcast_to(hax.named(FEATURES[2], (Embed,)), (Batch, Pos, Embed))
    labels = draw_labels(hidden, MODEL.lm_head, jax.random.key(5))
    logits = np.asarray(MODEL.lm_head.array) @ FEATURES[2]
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.bincount(labels.array.reshape(-1)) / count, expected, atol=0.008)


SMALL = {"seqLen": 6, "hiddenDim": 16, "numLayers": 2, "numHeads": 2, "initializerRange": 0.3}


@pytest.mark.parametrize(
    "body",
    [SMALL, {**SMALL, "activationFunction": "silu"}, {**SMALL, "type": "backpack", "numSenses": 4, "numLayers": 1}],
    ids=["gpt2", "gpt2, silu", "backpack"],
)
def test_the_product_with_the_hessian_is_the_difference_of_gradients(body):
    """With all functions that have derivatives of their own: norms, activation, attention, cross entropy. What is
    recomputed behind the blocks has no second derivative, and must not be there."""
    model = init_model(make_config(small_spec(body), 11), key=jax.random.key(0))
    batch = Batch(np.random.default_rng(0).integers(0, 11, (3, 7)).astype(np.int32))
    vector = jax.tree.map(lambda x: jax.random.rademacher(jax.random.key(x.size), x.shape, jnp.float32), model)

    def loss_of(model, batch, *, key=None, label_key=None):
        return whole_loss(model, batch, None, key=key, label_key=label_key) / 18

    gradient_of = jax.jit(lambda model: gradient(loss_of, model, None, batch, None)[1])
    step = 2e-3
    ahead, behind = (jax.tree.map(lambda x, v, s=s: x + s * v, model, vector) for s in (step, -step))
    expected = jax.tree.map(lambda a, b: (a - b) / (2 * step), gradient_of(ahead), gradient_of(behind))
    loss, product = jax.jit(lambda model: hessian_product(loss_of, model, vector, batch, None))(model)
    assert loss == pytest.approx(float(loss_of(model, batch)), rel=1e-5)
    for got, wanted in zip(jax.tree.leaves(product), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(got - wanted) <= 0.02 * np.linalg.norm(wanted) + 1e-4
