"""The elastic step: the same bits at every width, whatever else the job asks for.

Slow ones compile several programs each; they buy the combinations of mode of gathering, type and tensor parallelism,
each of which takes its own way through XLA. Each found a difference of its own while the step was written: narrow
types without a transfer between, a shard squared before it is cut off, sums of two products in Adam.
"""

import dataclasses
import hashlib
from typing import NamedTuple

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from lateen_api.spec import AdamWSpec, Gpt2Spec
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.ordered import TreeOrder, global_norm, sum_over_data, tree_reduce, tree_reduce_over_time
from lateen_trainer.step.microbatch import over_data
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import init_state
from lateen_trainer.step.train_step import StepSettings, make_eval_step, make_train_step

MODEL = Gpt2Spec(seq_len=24, hidden_dim=48, num_layers=2, num_heads=4, resid_pdrop=0.1, embed_pdrop=0.1)
CONFIG = Gpt2Config(MODEL, vocab_size=97)
SPEC = AdamWSpec(learning_rate=1e-2, max_grad_norm=0.6, warmup=0)
OPTIMIZER = make_optimizer(SPEC, num_steps=10)
SCHEDULE = learning_rate_schedule(SPEC, num_steps=10)
LANES = 16
BATCH = 32
STEPS = 4


class Trained(NamedTuple):
    """Floats as they are, and a digest of all parameters and both running means."""

    losses: list[float]
    norms: list[float]
    evaluation: float
    digest: str


def make_gpt2() -> Gpt2:
    return Gpt2.init(CONFIG, key=jax.random.key(0))


def make_padded_gpt2() -> Gpt2:
    return Gpt2.init(dataclasses.replace(CONFIG, padded_vocab_size=128), key=jax.random.key(0))


def rules_of(data: int, model: int = 1) -> ShardingRules:
    devices = jax.devices()[: data * model]
    return ShardingRules(make_mesh(data, model, devices), most_data=LANES // 2)


def train(
    data: int, model: int, dtype: str, gather_once: bool, *, elastic: bool = True, divide_vocabulary: bool = False
) -> Trained:
    rules = rules_of(data, model)
    if divide_vocabulary:
        rules = dataclasses.replace(rules, tensor_axes=(*rules.tensor_axes, "vocab"))
    key = jax.random.key(7)
    settings = StepSettings(rules, OPTIMIZER, SCHEDULE, jnp.dtype(dtype), gather_once, key, elastic)
    state = init_state(make_padded_gpt2 if divide_vocabulary else make_gpt2, OPTIMIZER, rules)
    step = make_train_step(settings)
    placement = BatchPlacement(rules, BATCH, LANES // data)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 97, (BATCH, 25), dtype=np.int32)
    losses, norms = [], []
    for _ in range(STEPS):
        state, metrics = step(state, placement.place(Batch(tokens)))
        losses.append(float(metrics["loss"]))
        norms.append(float(metrics["grad_norm"]))
    assert step._cache_size() == 1, "the step was compiled twice"
    weights = np.ones(BATCH, np.float32)
    weights[-5:] = 0
    evaluation, _ = make_eval_step(settings)(state.model, placement.place(Batch(tokens)), placement.place(weights))
    leaves = jax.tree.leaves((state.model, state.opt_state[1].mu, state.opt_state[1].nu))
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()
    return Trained(losses, norms, float(evaluation), digest)


@pytest.mark.slow
def test_one_device_and_eight_give_the_same_bits():
    one, eight = (train(width, 1, "float32", True) for width in (1, 8))

    assert eight == one
    assert one.losses[-1] < one.losses[0]
    assert max(one.norms) > 0.6, "clipping was not at work"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "dtype", "gather_once", "widths"),
    [
        (1, "float32", True, (1, 2, 4, 8)),
        (1, "float32", False, (1, 2, 8)),
        (1, "bfloat16", True, (1, 4, 8)),
        (1, "bfloat16", False, (1, 4, 8)),
        (2, "float32", True, (1, 2, 4)),
        (2, "float32", False, (1, 2, 4)),
        (2, "bfloat16", True, (1, 2, 4)),
    ],
)
def test_every_width_gives_the_same_bits(model, dtype, gather_once, widths):
    first, *others = (train(width, model, dtype, gather_once) for width in widths)

    assert others == [first] * len(others)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "gather_once"), [("float32", True), ("bfloat16", False)])
def test_every_width_gives_the_same_bits_with_a_divided_vocabulary(dtype, gather_once):
    first, *others = (train(width, 2, dtype, gather_once, divide_vocabulary=True) for width in (1, 2, 4))

    assert others == [first] * len(others)


@pytest.mark.slow
def test_losses_are_those_of_the_fast_step_but_for_rounding():
    """Without dropout, whose keys differ between the modes."""
    elastic, fast = (train_without_dropout(elastic) for elastic in (True, False))

    np.testing.assert_allclose(elastic, fast, rtol=1e-5)


def train_without_dropout(elastic: bool) -> list[float]:
    rules = rules_of(4)
    settings = StepSettings(rules, OPTIMIZER, SCHEDULE, jnp.dtype("float32"), True, None, elastic)
    state = init_state(make_gpt2, OPTIMIZER, rules)
    step, placement = make_train_step(settings), BatchPlacement(rules, BATCH, LANES // 4)
    tokens = np.random.default_rng(0).integers(0, 97, (BATCH, 25), dtype=np.int32)
    losses = []
    for _ in range(STEPS):
        state, metrics = step(state, placement.place(Batch(tokens)))
        losses.append(float(metrics["loss"]))
    return losses


NUMBERS = (np.random.default_rng(1).standard_normal((16, 40)) * 3.0 ** np.arange(-8, 8)[:, None]).astype(np.float32)


def nested(numbers: np.ndarray, order: TreeOrder) -> np.ndarray:
    """The tree by its definition, in NumPy."""
    if len(numbers) == 1:
        return numbers[0]
    half = len(numbers) // 2
    if order is TreeOrder.HALVES:
        return nested(numbers[:half] + numbers[half:], order)
    return nested(numbers[0::2] + numbers[1::2], order)


@pytest.mark.parametrize("order", list(TreeOrder))
def test_the_tree_over_devices_and_time_is_one_tree_at_every_width(order):
    expected = nested(NUMBERS, order)
    assert not np.array_equal(expected, NUMBERS.sum(0)), "these numbers do not show in which order they are added"

    np.testing.assert_array_equal(tree_reduce(list(NUMBERS), order), expected)
    for width in (1, 2, 4, 8):
        np.testing.assert_array_equal(sum_on_mesh(width, order), expected)


def sum_on_mesh(width: int, order: TreeOrder) -> jax.Array:
    """Lane j · width + d is the j-th of device d, as in the step."""
    rules, lanes = rules_of(width), NUMBERS.reshape(16 // width, width, 40)

    def on_device(lanes):
        lanes = lanes[:, 0]
        if order is TreeOrder.HALVES:
            return sum_over_data(tree_reduce_over_time(lambda x: x, lanes, len(lanes), order), 0, rules, order)
        return tree_reduce_over_time(lambda x: sum_over_data(x, 0, rules, order), lanes, len(lanes), order)

    return jax.jit(over_data(on_device, rules, in_specs=PartitionSpec(None, "data"), out_specs=PartitionSpec("data")))(
        lanes
    )


def test_adding_up_keeps_the_sign_of_zero():
    zeros = jnp.full((4, 3), -0.0)
    total = tree_reduce_over_time(lambda x: x, zeros, 4, TreeOrder.HALVES)
    assert np.signbit(total).all()


@pytest.mark.parametrize("shape", [(97, 48), (3, 12), (5,)])
def test_the_global_norm_is_the_same_at_every_width_and_right(shape):
    names = ("vocab", "embed")[-len(shape) :]
    rng = np.random.default_rng(2)
    values = [rng.standard_normal(shape).astype(np.float32) for _ in range(20)]
    trees = [{"a": hax.named(jnp.asarray(value), tuple(map(hax.Axis, names, shape)))} for value in values]

    def norms(width: int) -> list[float]:
        rules = rules_of(width)
        specs = jax.tree.map(
            lambda leaf: jax.tree.unflatten(jax.tree.structure(leaf), [rules.data_spec(leaf.axes)]),
            trees[0],
            is_leaf=hax.util.is_named_array,
        )
        function = over_data(lambda t: global_norm(t, rules), rules, in_specs=(specs,), out_specs=PartitionSpec())
        compiled = jax.jit(function)
        return [float(compiled(tree)) for tree in trees]

    one, *others = (norms(width) for width in (1, 2, 4, 8))
    assert others == [one] * 3
    assert one == pytest.approx([float(np.linalg.norm(value.astype(np.float64))) for value in values], rel=1e-6)


def test_a_parameter_is_divided_along_one_axis_at_every_width():
    axes = (hax.Axis("vocab", 97), hax.Axis("embed", 12), hax.Axis("position", 16))
    assert [rules_of(width).divisible_axis(axes) for width in (1, 2, 4, 8)] == [2] * 4
    embed = axes[:2]
    assert [rules_of(width).data_axis(embed) for width in (1, 2, 4, 8)] == [None, 1, 1, None]
