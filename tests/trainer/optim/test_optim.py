"""Schedules at their corners, and what decays."""

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from lateen_api.spec import Gpt2Spec, OptimizerSpec
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.optim.build import is_decayed

STEPS = 100
PEAK, RATIO = 0.3, 0.1


def rates(steps: int = STEPS, **fields) -> np.ndarray:
    """The rates of all steps of a run, as the compiled step computes them; index 0 is step 1."""
    spec = OptimizerSpec(learning_rate=PEAK, **{"warmup": 10, "min_lr_ratio": RATIO, **fields})
    rate = jax.jit(learning_rate_schedule(spec, steps))
    return np.array([rate(jnp.int32(count)) for count in range(steps)])


def share(rates: np.ndarray) -> np.ndarray:
    """As fractions of the peak."""
    return rates.astype(np.float64) / PEAK


SCHEDULES = ("constant", "linear", "cosine", "inv_sqrt", "wsd")
DECAYING = ("linear", "cosine", "wsd")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [100, 97, 1000])
def test_the_last_step_of_the_warm_up_has_exactly_the_peak(schedule, steps):
    got = rates(steps, lr_schedule=schedule, warmup=7, decay=0.5)
    assert got.dtype == np.float32
    assert share(got[:7]) == pytest.approx(np.arange(1, 8) / 7)
    assert got[6] == np.float32(PEAK) == got.max()


@pytest.mark.parametrize("schedule", DECAYING)
@pytest.mark.parametrize("steps", [100, 97, 1000])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
def test_the_last_step_has_exactly_the_least_rate(schedule, steps, ratio):
    got = rates(steps, lr_schedule=schedule, min_lr_ratio=ratio, decay=0.3)
    assert got[-1] == np.float32(PEAK * ratio) == got[10:].min()
    assert ratio == 1.0 or got[-2] > got[-1]


def test_rates_of_wsd_stay_at_the_peak_until_the_decay():
    got = rates(10, lr_schedule="wsd", warmup=2, decay=5)
    assert share(got) == pytest.approx([0.5, 1, 1, 1, 1, 0.82, 0.64, 0.46, 0.28, 0.1])
    assert (got[1:5] == np.float32(PEAK)).all()


def test_linear_falls_by_the_same_amount_with_each_step():
    assert share(rates(10, lr_schedule="linear", warmup=1)) == pytest.approx(np.linspace(1, 0.1, 10), rel=1e-6)


def test_cosine_is_half_way_in_the_middle():
    got = share(rates(lr_schedule="cosine", warmup=20))
    assert got[[19, 59, 99]] == pytest.approx([1, 0.55, 0.1])
    assert got[39] == pytest.approx(0.1 + 0.9 * (0.5 + 0.5 * np.sqrt(0.5)))


def test_inverse_square_root_falls_from_the_last_step_of_the_warm_up_to_the_least_rate():
    assert share(rates(lr_schedule="inv_sqrt", min_lr_ratio=0.4))[[9, 39, 89]] == pytest.approx([1.0, 0.5, 0.4])


def test_constant_stays_at_the_peak():
    assert (rates(lr_schedule="constant")[9:] == np.float32(PEAK)).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_a_warm_up_the_first_step_has_the_peak(schedule):
    got = rates(lr_schedule=schedule, warmup=0, decay=1 - 1e-9)
    assert got[0] == np.float32(PEAK)
    assert schedule not in DECAYING or got[-1] == np.float32(PEAK * RATIO)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_that_is_all_warm_up_ends_at_the_peak(schedule):
    assert share(rates(5, lr_schedule=schedule, warmup=5, decay=0)) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates(5, lr_schedule=schedule, warmup=5, decay=0)[-1] == np.float32(PEAK)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1])
def test_a_run_of_one_step_has_the_peak(schedule, warmup):
    assert rates(1, lr_schedule=schedule, warmup=warmup).tolist() == [np.float32(PEAK)]


def test_a_decay_of_no_steps_stays_at_the_peak_and_one_of_one_step_is_the_last():
    assert share(rates(4, lr_schedule="wsd", warmup=1, decay=0)) == pytest.approx([1, 1, 1, 1])
    assert share(rates(4, lr_schedule="wsd", warmup=1, decay=1)) == pytest.approx([1, 1, 1, 0.1])


def test_warm_up_below_one_is_a_fraction_of_the_run():
    assert share(rates(lr_schedule="constant", warmup=0.2))[[0, 18, 19]] == pytest.approx([0.05, 0.95, 1.0])


def test_optax_and_levanter_reach_the_end_one_step_after_the_last():
    # What Levanter builds (optim/config.py): a linear warm-up from 0, then optax's cosine over the other steps.
    warmup = optax.linear_schedule(0.0, PEAK, 10)
    theirs = optax.join_schedules([warmup, optax.cosine_decay_schedule(PEAK, 90, RATIO)], [10])
    assert [float(theirs(count)) for count in (0, 10, 100)] == pytest.approx([0.0, PEAK, PEAK * RATIO])
    assert float(theirs(99)) > PEAK * RATIO * 1.001
    assert rates(lr_schedule="cosine") == pytest.approx([float(theirs(count + 1)) for count in range(STEPS)], rel=1e-5)


def test_matrices_decay_and_biases_and_norms_do_not():
    config = Gpt2Config(Gpt2Spec(seq_len=8, hidden_dim=16, num_layers=2, num_heads=2), 11)
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
