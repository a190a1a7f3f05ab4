"""Each optimizer is its paper's over 20 steps, and does to a layer of a stack what it does to that layer alone."""

import functools
from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from haliax import Axis, NamedArray
from lateen_api.spec import AdafactorSpec, AdamWSpec, LionSpec, MuonSpec, OptimizerSpec, SophiaGSpec, SophiaHSpec
from lateen_trainer.optim import make_optimizer
from trainer.optim import papers

STEPS = 20
Layers, Embed, Mlp, Qkv = Axis("layers", 3), Axis("embed", 12), Axis("mlp", 20), Axis("qkv", 3)
Heads, HeadSize, Vocab = Axis("heads", 2), Axis("head_size", 5), Axis("vocab", 17)
SCHEDULE: dict[str, Any] = {"lr_schedule": "constant", "warmup": 0, "max_grad_norm": None}
RATE, DECAY = 0.02, 0.3
SPECS: dict[str, OptimizerSpec] = {
    "adamw": AdamWSpec(learning_rate=RATE, weight_decay=DECAY, **SCHEDULE),
    "lion": LionSpec(type="lion", learning_rate=RATE, weight_decay=DECAY, **SCHEDULE),
    "sophia-g": SophiaGSpec(
        type="sophia-g", learning_rate=RATE, weight_decay=DECAY, update_interval=3, gamma=0.7, **SCHEDULE
    ),
    "sophia-h": SophiaHSpec(
        type="sophia-h", learning_rate=RATE, weight_decay=DECAY, update_interval=1, gamma=20.0, **SCHEDULE
    ),
    "adafactor": AdafactorSpec(type="adafactor", learning_rate=RATE, weight_decay=DECAY, **SCHEDULE),
    "adafactor-unscaled": AdafactorSpec(
        type="adafactor", learning_rate=RATE, weight_decay=DECAY, multiply_by_parameter_scale=False,
        clipping_threshold=0.4, **SCHEDULE,
    ),
    "muon": MuonSpec(type="muon", learning_rate=RATE, weight_decay=DECAY, **SCHEDULE),
    "muon-spectral": MuonSpec(
        type="muon", learning_rate=RATE, weight_decay=DECAY, scale="spectral", nesterov=False, newton_schulz_steps=3,
        momentum=0.8, adam_learning_rate=0.005, **SCHEDULE,
    ),
}  # fmt: skip


@functools.cache
def model() -> dict[str, NamedArray]:
    """One parameter of each role."""
    axes = {
        "tall.weight": (Layers, Mlp, Embed),
        "wide.weight": (Layers, Embed, Mlp),
        "attention.weight": (Layers, Embed, Qkv, Heads, HeadSize),
        "attention.bias": (Layers, Qkv, Heads, HeadSize),
        "norm.weight": (Layers, Embed),
        "wte": (Vocab, Embed),
        "ln_f.weight": (Embed,),
    }
    rng = np.random.default_rng(0)
    return {name: random_array(rng, *its) for name, its in axes.items()}


def random_array(rng: np.random.Generator, *axes: Axis) -> NamedArray:
    # Not of one size: what depends on the sums along rows or columns must show.
    shape = [axis.size for axis in axes]
    sizes = [rng.lognormal(size=[n if i == j else 1 for j in range(len(shape))]) for i, n in enumerate(shape)]
    return hax.named(jnp.asarray(rng.standard_normal(shape) * np.prod(np.broadcast_arrays(*sizes), axis=0)), axes)


@functools.cache
def gradients(step: int) -> dict[str, NamedArray]:
    rng = np.random.default_rng(step)
    return {name: random_array(rng, *leaf.axes) for name, leaf in model().items()}


@functools.cache
def estimates(step: int) -> dict[str, NamedArray]:
    """Of the Hessian's diagonal, mostly positive."""
    rng = np.random.default_rng(1000 + step)
    return {name: random_array(rng, *leaf.axes) + 0.5 for name, leaf in model().items()}


def trained(spec: OptimizerSpec, parameters: dict[str, NamedArray], pick=lambda tree: tree) -> dict[str, NamedArray]:
    """The parameters after all steps. `pick` takes from gradients and estimates what is of these parameters."""
    optimizer = make_optimizer(spec, STEPS)

    @jax.jit
    def step(parameters, state, gradients, estimates):
        updates, state = optimizer.update(
            gradients, state, parameters, grad_norm=optax.tree.norm(gradients), curvature=lambda: estimates
        )
        return optax.apply_updates(parameters, updates), state

    state = optimizer.init(parameters)
    for t in range(1, STEPS + 1):
        parameters, state = step(parameters, state, pick(gradients(t)), pick(estimates(t)))
    return parameters


def paper(spec: OptimizerSpec, name: str, index: tuple[int, ...]) -> papers.Update:
    """The formula for a parameter, or for one of those that lie side by side in it."""
    is_matrix = (name.endswith(".weight") and "norm" not in name and name != "ln_f.weight") or name == "wte"
    decay = DECAY if is_matrix else 0.0
    match spec:
        case AdamWSpec():
            return papers.adamw(RATE, decay, 0.9, 0.95, 1e-8)
        case LionSpec():
            return papers.lion(RATE, decay, 0.95, 0.98)
        case SophiaGSpec() | SophiaHSpec():
            estimate = lambda t: matrices(estimates(t)[name])[index]  # noqa: E731
            return papers.sophia(RATE, decay, 0.96, 0.99, spec.gamma, 1e-12, spec.update_interval, estimate)
        case AdafactorSpec():
            threshold, scaled = spec.clipping_threshold, spec.multiply_by_parameter_scale
            return papers.adafactor(RATE, decay, 0.8, 1e-30, threshold, 1e-3, scaled)
        case MuonSpec() if is_matrix and name != "wte":
            return papers.muon(
                RATE, decay, spec.momentum, spec.newton_schulz_steps,
                nesterov=spec.nesterov, spectral=spec.scale == "spectral",
            )  # fmt: skip
        case MuonSpec():
            return papers.adamw(spec.adam_learning_rate or RATE, decay, 0.9, 0.95, 1e-8)


def matrices(parameter: NamedArray) -> dict[tuple[int, ...], np.ndarray]:
    """The parameters that lie side by side in an array, the outputs of all heads as one dimension; float64."""
    separate = [axis for axis in parameter.axes if axis.name in ("layers", "qkv")]
    ordered = parameter.rearrange((*separate, *(axis for axis in parameter.axes if axis not in separate)))
    array = np.asarray(ordered.array, np.float64)
    if Heads in parameter.axes:
        array = array.reshape(*array.shape[:-2], -1)
    return {index: array[index] for index in np.ndindex(*(axis.size for axis in separate))}


@pytest.mark.parametrize("kind", SPECS)
def test_the_optimizer_is_its_papers(kind):
    spec = SPECS[kind]
    after = trained(spec, model())
    for name, leaf in model().items():
        for index, expected in matrices(leaf).items():
            update = paper(spec, name, index)
            for t in range(1, STEPS + 1):
                expected = update(expected, matrices(gradients(t)[name])[index], t)
            got = matrices(after[name])[index]
            assert np.linalg.norm(got - expected) <= 1e-6 * np.linalg.norm(expected), (name, index)


@pytest.mark.parametrize("kind", SPECS)
def test_a_layer_of_a_stack_is_trained_as_that_layer_alone(kind):
    def second_layer(tree):
        return {name: leaf["layers", 1] for name, leaf in tree.items() if Layers in leaf.axes}

    stacked = second_layer(trained(SPECS[kind], model()))
    alone = trained(SPECS[kind], second_layer(model()), second_layer)
    for name, leaf in alone.items():
        np.testing.assert_allclose(stacked[name].array, leaf.array, rtol=2e-6, atol=1e-6)
