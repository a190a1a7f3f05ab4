"""Parameters that are kept in fewer bits than a step computes with: `spec.trainer.mp`.

That they have the same bits at every width: test_optimizers.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from lateen_api.spec import AdamWSpec, Gpt2Spec
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.models.layers import cast
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import FLOAT32, TrainState, init_state
from lateen_trainer.step.train_step import StepSettings, make_train_step

CONFIG = Gpt2Config(Gpt2Spec(seq_len=8, hidden_dim=16, num_layers=1, num_heads=2), vocab_size=31)
SPEC = AdamWSpec(learning_rate=3e-2, warmup=0)
BFLOAT16 = jnp.dtype("bfloat16")


def make_gpt2() -> Gpt2:
    return cast(Gpt2.init(CONFIG, key=jax.random.key(0)), BFLOAT16)


def train(param_dtype: jnp.dtype, steps: int) -> TrainState:
    """A model whose first parameters are numbers of bfloat16, with averaged weights."""
    rules = ShardingRules(make_mesh(1, 1, jax.devices()[:1]))
    optimizer = make_optimizer(SPEC, 10, rules)
    settings = StepSettings(
        rules, optimizer, learning_rate_schedule(SPEC, 10), FLOAT32, True, None, ema_decay=0.5, param_dtype=param_dtype
    )
    state = init_state(lambda: cast(make_gpt2(), FLOAT32), optimizer, rules, has_ema=True, param_dtype=param_dtype)
    step, placement = make_train_step(settings), BatchPlacement(rules, 4, 1)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        state, _ = step(state, placement.place(Batch(rng.integers(0, 31, (4, 9), dtype=np.int32))))
    return state


def numbers(tree: Any) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float32).reshape(-1) for leaf in jax.tree.leaves(tree)])


def types(tree: Any) -> set[str]:
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


def test_a_step_is_that_of_float32_and_rounds_the_parameters_that_it_has_made():
    full, narrow = train(FLOAT32, steps=1), train(BFLOAT16, steps=1)

    assert types(narrow.model) == {"bfloat16"}
    ours, theirs = (numbers(state.model) for state in (narrow, full))
    # The programs are not the same to the last bit: a number in the middle of two may be rounded either way, and what
    # a tiny gradient is divided by is tiny.
    np.testing.assert_allclose(ours, theirs, rtol=2**-8, atol=0.01 * SPEC.learning_rate)
    assert np.mean(ours == theirs.astype(BFLOAT16)) > 0.99
    np.testing.assert_allclose(numbers(narrow.opt_state), numbers(full.opt_state), rtol=1e-4, atol=1e-7)


def test_moments_and_averaged_weights_stay_in_float32():
    state = train(BFLOAT16, steps=3)

    assert types(state.ema) == {"float32"}
    assert types(state.opt_state) == {"float32", "int32"}
    rounded = (np.asarray(cast(leaf, BFLOAT16), np.float32) for leaf in jax.tree.leaves(state.ema))
    assert any((mean != np.asarray(leaf)).any() for mean, leaf in zip(rounded, jax.tree.leaves(state.ema), strict=True))
