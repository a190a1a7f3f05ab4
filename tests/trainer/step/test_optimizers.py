"""Every optimizer in the step: the same bits at every width, and a state that lies divided as the parameters do.

The slow ones compile a program for each width; each way of dividing sums and matrices is of one optimizer only.
"""

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_api.spec import (
    AdafactorSpec,
    AdamWSpec,
    Gpt2Spec,
    LionSpec,
    MuonSpec,
    OptimizerSpec,
    ParameterGroup,
    SophiaGSpec,
    SophiaHSpec,
)
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import FLOAT32, init_state
from lateen_trainer.step.train_step import StepSettings, make_train_step

CONFIG = Gpt2Config(Gpt2Spec(seq_len=24, hidden_dim=48, num_layers=3, num_heads=4, resid_pdrop=0.1), vocab_size=97)
LANES = 16
BATCH = 32
STEPS = 4
SHARED: dict[str, Any] = {"max_grad_norm": 0.6, "warmup": 0, "groups": [ParameterGroup(match="*.wte", weight_decay=0)]}
SPECS: dict[str, OptimizerSpec] = {
    "adamw": AdamWSpec(learning_rate=1e-2, **SHARED),
    "sophia-h": SophiaHSpec(type="sophia-h", learning_rate=1e-2, update_interval=2, **SHARED),
    "sophia-g": SophiaGSpec(type="sophia-g", learning_rate=1e-2, update_interval=2, **SHARED),
    "lion": LionSpec(type="lion", learning_rate=3e-3, **SHARED),
    "adafactor": AdafactorSpec(type="adafactor", learning_rate=3e-2, weight_decay=0.1, **SHARED),
    "muon": MuonSpec(type="muon", learning_rate=1e-2, **SHARED),
}
ESTIMATORS = {"sophia-h": "hutchinson", "sophia-g": "gauss-newton-bartlett"}


class Trained(NamedTuple):
    """Losses as they are, and a digest of the whole state."""

    losses: list[float]
    digest: str


def make_gpt2() -> Gpt2:
    return Gpt2.init(CONFIG, key=jax.random.key(0))


def train(
    kind: str,
    data: int,
    model: int = 1,
    dtype: str = "float32",
    *,
    gather_once: bool = True,
    param_dtype: jnp.dtype = FLOAT32,
) -> Trained:
    rules = ShardingRules(make_mesh(data, model, jax.devices()[: data * model]), most_data=LANES // 2)
    optimizer = make_optimizer(SPECS[kind], 10, rules)
    settings = StepSettings(
        rules,
        optimizer,
        learning_rate_schedule(SPECS[kind], 10),
        jnp.dtype(dtype),
        gather_once,
        dropout_key=jax.random.key(7),
        elastic=True,
        curvature=ESTIMATORS.get(kind),  # pyright: ignore[reportArgumentType]
        curvature_key=jax.random.key(8),
        ema_decay=0.9,
        param_dtype=param_dtype,
    )
    state = init_state(make_gpt2, optimizer, rules, has_ema=True, param_dtype=param_dtype)
    step, placement = make_train_step(settings), BatchPlacement(rules, BATCH, LANES // data)
    tokens = np.random.default_rng(0).integers(0, 97, (BATCH, 25), dtype=np.int32)
    losses = []
    for _ in range(STEPS):
        state, metrics = step(state, placement.place(Batch(tokens)))
        losses.append(float(metrics["loss"]))
    assert step._cache_size() == 1, "the step was compiled twice"
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state))).hexdigest()
    return Trained(losses, digest)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "dtype", "widths"),
    [
        (kind, dtype, widths)
        for kind in SPECS
        # A step with a product with the Hessian takes twice as long to compile as the others.
        for dtype, widths in (("float32", (1, 8) if kind == "sophia-h" else (1, 2, 8)), ("bfloat16", (1, 8)))
    ],
)
def test_every_width_gives_the_same_bits(kind, dtype, widths):
    first, *others = (train(kind, width, dtype=dtype) for width in widths)

    assert others == [first] * len(others)
    assert first.losses[-1] < first.losses[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sophia-g", "adafactor", "muon"])
def test_layers_that_are_gathered_one_by_one_or_split_in_two_give_the_same_bits_too(kind):
    """Those whose update is no matter of one number at a time."""
    assert train(kind, 1, gather_once=False) == train(kind, 4, gather_once=False)
    assert train(kind, 1, model=2) == train(kind, 4, model=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_in_bfloat16_have_the_same_bits_at_every_width_too(dtype):
    first, *others = (train("adamw", width, dtype=dtype, param_dtype=jnp.dtype("bfloat16")) for width in (1, 2, 8))

    assert others == [first] * len(others)
    assert first.losses[-1] < first.losses[0]
