"""Schedules at their corners, and what decays."""

import haliax as hax
import jax
import numpy as np
import optax
import pytest
from lateen_api.spec import ModelSpec, OptimizerSpec
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.optim.build import is_decayed

STEPS = 100


def rates(at: list[int], **fields) -> list[float]:
    spec = OptimizerSpec(learning_rate=1.0, **{"warmup": 10, "min_lr_ratio": 0.1, **fields})
    schedule = learning_rate_schedule(spec, STEPS)
    return [float(schedule(step)) for step in at]


def test_warm_up_reaches_the_peak_with_its_last_step():
    assert rates([0, 4, 9], lr_schedule="constant") == pytest.approx([0.1, 0.5, 1.0])


def test_warm_up_below_one_is_a_fraction_of_the_run():
    assert rates([0, 19, 20], lr_schedule="constant", warmup=0.2) == pytest.approx([0.05, 1.0, 1.0])


def test_no_warm_up_starts_at_the_peak():
    assert rates([0, 1], lr_schedule="constant", warmup=0) == pytest.approx([1.0, 1.0])


def test_cosine_falls_to_the_floor():
    assert rates([10, 55, 100], lr_schedule="cosine") == pytest.approx([1.0, 0.55, 0.1])


def test_linear_falls_to_the_floor():
    assert rates([10, 55, 100], lr_schedule="linear") == pytest.approx([1.0, 0.55, 0.1])


def test_inverse_square_root_of_the_warm_up():
    assert rates([10, 40, 90], lr_schedule="inv_sqrt", min_lr_ratio=0.4) == pytest.approx([1.0, 0.5, 0.4], abs=1e-6)


def test_wsd_is_stable_until_its_decay():
    assert rates([10, 79, 80, 90, 100], lr_schedule="wsd", decay=0.2) == pytest.approx([1.0, 1.0, 1.0, 0.55, 0.1])


def test_matrices_decay_and_biases_and_norms_do_not():
    config = Gpt2Config(ModelSpec(seq_len=8, hidden_dim=16, num_layers=2, num_heads=2), 11)
    model = jax.eval_shape(lambda: Gpt2.init(config, key=jax.random.key(0)))
    decayed = {
        ".".join(key.name for key in path)
        for path, leaf in jax.tree_util.tree_flatten_with_path(is_decayed(model), is_leaf=hax.util.is_named_array)[0]
        if leaf.array
    }
    assert decayed == {
        "wte",
        "wpe",
        "blocks.blocks.attn.c_attn.weight",
        "blocks.blocks.attn.c_proj.weight",
        "blocks.blocks.mlp.c_fc.weight",
        "blocks.blocks.mlp.c_proj.weight",
    }


def test_a_step_of_adamw_by_hand():
    Row, Column = hax.Axis("row", 1), hax.Axis("column", 1)
    spec = OptimizerSpec(
        learning_rate=0.1, weight_decay=0.5, lr_schedule="constant", warmup=0, max_grad_norm=1.0, epsilon=1e-8
    )
    optimizer = make_optimizer(spec, STEPS)
    model = {"weight": hax.full((Row, Column), 2.0), "bias": hax.full(Column, 2.0)}
    gradients = {"weight": hax.full((Row, Column), 3.0), "bias": hax.full(Column, 4.0)}

    updates, _ = optimizer.update(gradients, optimizer.init(model), model, grad_norm=optax.tree.norm(gradients))

    # Adam's first update is the sign of the gradient; the matrix decays by rate × 0.5 × 2 besides.
    np.testing.assert_allclose(updates["weight"].array, [[-0.1 - 0.1]], rtol=1e-5)
    np.testing.assert_allclose(updates["bias"].array, [-0.1], rtol=1e-5)


def test_gradients_are_clipped_by_their_global_norm():
    Column = hax.Axis("column", 1)
    spec = OptimizerSpec(learning_rate=1.0, weight_decay=0.0, lr_schedule="constant", warmup=0, max_grad_norm=1.0)
    optimizer = make_optimizer(spec, STEPS)
    model = {"a": hax.zeros(Column), "b": hax.zeros(Column)}
    gradients = {"a": hax.full(Column, 3.0), "b": hax.full(Column, 4.0)}

    _, state = optimizer.update(gradients, optimizer.init(model), model, grad_norm=optax.tree.norm(gradients))

    mu = state[1].mu  # (1 - beta1) × clipped gradient
    np.testing.assert_allclose([mu["a"].array[0], mu["b"].array[0]], [0.1 * 0.6, 0.1 * 0.8], rtol=1e-5)
