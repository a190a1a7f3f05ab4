"""Averaged weights against their definition in NumPy, and which weights are evaluated and exported.

That they have the same bits at every width: test_optimizers.py and test_lora.py. That they are the same after a
restart, and what is exported: test_lora_runs.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from crds.jobs import nano
from lateen_api.plan import make_plan
from lateen_api.spec import AdamWSpec, Gpt2Spec
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.models.lora import LoraModel
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.run import Run
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import TrainState, init_state
from lateen_trainer.step.train_step import StepSettings, make_train_step

CONFIG = Gpt2Config(Gpt2Spec(seq_len=8, hidden_dim=16, num_layers=1, num_heads=2), vocab_size=31)
SPEC = AdamWSpec(learning_rate=3e-2, warmup=0)
STEPS = 8


def numbers(model: Any) -> np.ndarray:
    """All numbers of a model, one after the other, in float64."""
    return np.concatenate([np.asarray(leaf, np.float64).reshape(-1) for leaf in jax.tree.leaves(model)])


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_follows_the_weights_with_a_decay_that_grows_to_the_one_asked_for(decay):
    """In step n, counted from 1, it is n / (9 + n) until that is more: 0.1, 0.18, 0.25, 0.31, …"""
    rules = ShardingRules(make_mesh(1, 1, jax.devices()[:1]))
    optimizer = make_optimizer(SPEC, STEPS, rules)
    schedule = learning_rate_schedule(SPEC, STEPS)
    step = make_train_step(StepSettings(rules, optimizer, schedule, jnp.dtype("float32"), True, None, ema_decay=decay))
    state = init_state(lambda: Gpt2.init(CONFIG, key=jax.random.key(0)), optimizer, rules, has_ema=True)
    placement = BatchPlacement(rules, 4, 1)
    rng = np.random.default_rng(0)
    expected = numbers(state.model)
    np.testing.assert_array_equal(numbers(state.ema), expected)
    for n in range(1, STEPS + 1):
        state, _ = step(state, placement.place(Batch(rng.integers(0, 31, (4, 9), dtype=np.int32))))
        d = min(decay, n / (9 + n))
        expected = d * expected + (1 - d) * numbers(state.model)
        np.testing.assert_allclose(numbers(state.ema), expected, rtol=1e-6, atol=1e-7)
    assert np.abs(expected - numbers(state.model)).max() > 1e-3


def run_of(*overrides: str) -> Run:
    job = nano("compute.devicesPerHost=1", *overrides)
    return Run.build(job.spec, make_plan(job), 257, jax.devices()[:1])


def state_of(run: Run) -> TrainState:
    """Its shapes: `evaluated` picks among arrays and computes nothing."""
    return run.state_shapes()


@pytest.mark.parametrize(
    ("ema", "averaged"), [("null", False), ("{}", True), ("{use: true}", True), ("{use: false}", False)]
)
def test_averages_are_evaluated_unless_the_job_says_otherwise(ema: str, averaged: bool):
    run = run_of(f"trainer.ema={ema}")
    state = state_of(run)
    assert (run.evaluated(state) is state.ema) == averaged
    assert (run.evaluated(state) is state.model) == (not averaged)
    assert (state.ema is None) == (ema == "null")


def test_with_lora_the_average_is_of_the_adapters_and_stands_beside_the_model():
    run = run_of("trainer.ema={}", "trainer.lora={}")
    state = state_of(run)
    assert isinstance(state.model, LoraModel)
    assert [leaf.shape for leaf in jax.tree.leaves(state.ema)] == [(4, 128, 8), (4, 8, 3, 4, 32)]
    assert run.evaluated(state).base is state.model.base
    assert run.evaluated(state).adapters is state.ema.adapters
