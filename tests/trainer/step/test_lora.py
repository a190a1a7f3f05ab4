"""The step with LoRA: the model keeps its bits, and adapters have the same ones at every width.

The slow ones compile a program for each width; they buy that frozen shards, gathered in both ways and split in two,
do not change how gradients of adapters are added up.
"""

import functools
import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_api.spec import AdamWSpec, LoraSpec
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.models.lora import LoraModel
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import TrainState, init_state
from lateen_trainer.step.train_step import StepSettings, make_train_step
from trainer.models.small_specs import GPT2, LLAMA, VOCAB, small_spec

LORA = LoraSpec(rank=4, alpha=8, dropout=0.1, targets=["all-linear"])
SPEC = AdamWSpec(learning_rate=1e-2, max_grad_norm=0.6, warmup=0)
OPTIMIZER = make_optimizer(SPEC, num_steps=10)
SCHEDULE = learning_rate_schedule(SPEC, num_steps=10)
LANES = 16
BATCH = 32
STEPS = 4
FAMILIES = {
    "gpt2": {**GPT2, "hiddenDim": 48, "numLayers": 2, "residPdrop": 0.1},
    "llama": {**LLAMA, "hiddenDim": 48, "intermediateDim": 80, "numLayers": 2},
}


class Layout(NamedTuple):
    """Into how many parts data and layers are divided, and how parameters are gathered."""

    data: int
    model: int = 1
    dtype: str = "float32"
    gather_once: bool = True


class Trained(NamedTuple):
    """Losses as they are, the state, and a digest of it."""

    losses: list[float]
    digest: str
    before: TrainState
    after: TrainState


@functools.cache
def train(family: str, layout: Layout) -> Trained:
    data, model, dtype, gather_once = layout
    rules = ShardingRules(make_mesh(data, model, jax.devices()[: data * model]), most_data=LANES // 2)
    config = make_config(small_spec(FAMILIES[family]), VOCAB)

    def make_model() -> LoraModel:
        return LoraModel.init(init_model(config, key=jax.random.key(0)), LORA, key=jax.random.key(1))

    key = jax.random.key(7)
    settings = StepSettings(rules, OPTIMIZER, SCHEDULE, jnp.dtype(dtype), gather_once, key, elastic=True, ema_decay=0.9)
    state = init_state(make_model, OPTIMIZER, rules, has_ema=True)
    before = jax.tree.map(np.asarray, state)
    step, placement = make_train_step(settings), BatchPlacement(rules, BATCH, LANES // data)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (BATCH, 25), dtype=np.int32)
    losses = []
    for _ in range(STEPS):
        state, metrics = step(state, placement.place(Batch(tokens)))
        losses.append(float(metrics["loss"]))
    assert step._cache_size() == 1, "the step was compiled twice"
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state))).hexdigest()
    return Trained(losses, digest, before, state)


def bits(tree: Any) -> dict[str, bytes]:
    return {str(i): np.asarray(leaf).tobytes() for i, leaf in enumerate(jax.tree.leaves(tree))}


LAYOUTS = [
    ("gpt2", (Layout(8, gather_once=False), Layout(1, gather_once=False))),
    ("llama", (Layout(4, 2, "bfloat16"), Layout(1, 2, "bfloat16"))),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("family", "layout"), [(family, layouts[0]) for family, layouts in LAYOUTS])
def test_the_model_keeps_its_bits_and_all_adapters_are_trained(family, layout):
    trained = train(family, layout)

    assert bits(trained.after.model.base) == bits(trained.before.model.base)
    old, new = bits(trained.before.model.adapters), bits(trained.after.model.adapters)
    assert all(new[name] != old[name] for name in old)
    assert trained.losses[-1] < trained.losses[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("family", "layouts"), LAYOUTS)
def test_every_width_gives_the_same_bits(family, layouts):
    one, other = (train(family, layout) for layout in layouts)

    assert (other.losses, other.digest) == (one.losses, one.digest)
