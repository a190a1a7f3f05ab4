"""The step of every family: split layers, both modes, and equal bits of a model with grouped heads.

Slow: each case compiles programs of its own. They buy that no family adds an operation whose result depends on how
its arrays are divided.
"""

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_api.spec import AdamWSpec
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import init_state
from lateen_trainer.step.train_step import StepSettings, make_train_step
from trainer.models.small_specs import BACKPACK, GPT2, LLAMA, LLAMA3, MISTRAL, MPT, QWEN2, QWEN3, VOCAB, small_spec

SPEC = AdamWSpec(learning_rate=1e-2, max_grad_norm=0.6, warmup=0)
OPTIMIZER = make_optimizer(SPEC, num_steps=10)
SCHEDULE = learning_rate_schedule(SPEC, num_steps=10)
LANES = 16
BATCH = 32
STEPS = 4
WIDTH = {"hiddenDim": 48, "intermediateDim": 80, "numLayers": 2}
FAMILIES = {
    "gpt2": {**GPT2, "hiddenDim": 48, "numLayers": 2},
    "llama": {**LLAMA, **WIDTH, "rope": LLAMA3},
    "mistral": {**MISTRAL, **WIDTH},
    "qwen2": {**QWEN2, **WIDTH, "slidingWindow": 5, "maxWindowLayers": 1},
    "qwen3": {**QWEN3, **WIDTH, "tieWordEmbeddings": True},
    "mpt": {**MPT, "hiddenDim": WIDTH["hiddenDim"], "qkLn": True, "clipQkv": 1.0, "noBias": False},
    "backpack": {**BACKPACK, "hiddenDim": WIDTH["hiddenDim"], "numLayers": 2},
}


class Trained(NamedTuple):
    """Floats as they are, and a digest of all parameters and both running means."""

    losses: list[float]
    norms: list[float]
    digest: str


def train(
    body: dict[str, Any],
    data: int,
    model: int,
    *,
    dtype: str = "float32",
    gather_once: bool = True,
    elastic: bool,
) -> Trained:
    mesh = make_mesh(data, model, jax.devices()[: data * model])
    rules = ShardingRules(mesh, tensor_axes=("mlp", "heads", "senses"), most_data=LANES // 2)
    config = make_config(small_spec(body), VOCAB)
    settings = StepSettings(rules, OPTIMIZER, SCHEDULE, jnp.dtype(dtype), gather_once, None, elastic)
    state = init_state(lambda: init_model(config, key=jax.random.key(0)), OPTIMIZER, rules)
    step = make_train_step(settings)
    placement = BatchPlacement(rules, BATCH, LANES // data)
    tokens = np.random.default_rng(0).integers(0, VOCAB, (BATCH, 25), dtype=np.int32)
    losses, norms = [], []
    for _ in range(STEPS):
        state, metrics = step(state, placement.place(Batch(tokens)))
        losses.append(float(metrics["loss"]))
        norms.append(float(metrics["grad_norm"]))
    leaves = jax.tree.leaves((state.model, state.opt_state[1].mu, state.opt_state[1].nu))
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()
    return Trained(losses, norms, digest)


@pytest.mark.slow
@pytest.mark.parametrize("elastic", [False, True], ids=["fast", "elastic"])
@pytest.mark.parametrize("family", FAMILIES)
def test_layers_split_in_two_give_the_losses_of_whole_ones(family: str, elastic: bool):
    whole, split = (train(FAMILIES[family], 2, model, elastic=elastic) for model in (1, 2))

    np.testing.assert_allclose(split.losses, whole.losses, rtol=1e-5)
    np.testing.assert_allclose(split.norms, whole.norms, rtol=1e-4)
    assert whole.losses[-1] < whole.losses[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "dtype", "gather_once", "widths"),
    [
        (1, "float32", True, (1, 2, 4, 8)),
        (1, "float32", False, (1, 2, 8)),
        (1, "bfloat16", True, (1, 2, 4, 8)),
        (1, "bfloat16", False, (1, 4, 8)),
        (2, "float32", True, (1, 2, 4)),
        (2, "bfloat16", True, (1, 2, 4)),
    ],
)
def test_every_width_gives_the_same_bits_with_grouped_heads(model, dtype, gather_once, widths):
    first, *others = (
        train(FAMILIES["llama"], width, model, dtype=dtype, gather_once=gather_once, elastic=True) for width in widths
    )

    assert others == [first] * len(others)
    assert max(first.norms) > 0.6, "clipping was not at work"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "mpt", "backpack"])
def test_biases_and_norms_of_heads_have_the_same_bits_at_every_width(family: str):
    """Of arrays that the Llama does not have: they are divided along other axes."""
    first, *others = (train(FAMILIES[family], width, 1, elastic=True) for width in (1, 8))

    assert others == [first]
