"""The step on meshes of every shape: equal losses, and parameters that are truly divided."""

import dataclasses

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_api.spec import AdamWSpec, Gpt2Spec
from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.placement import BatchPlacement
from lateen_trainer.step.state import init_state, state_shapes
from lateen_trainer.step.train_step import StepSettings, make_train_step

CONFIG = Gpt2Config(Gpt2Spec(seq_len=16, hidden_dim=64, num_layers=2, num_heads=8), vocab_size=97)
SPEC = AdamWSpec(learning_rate=1e-2)
OPTIMIZER = make_optimizer(SPEC, num_steps=10)
SCHEDULE = learning_rate_schedule(SPEC, num_steps=10)
BATCH = 16
STEPS = 4


def make_gpt2() -> Gpt2:
    return Gpt2.init(CONFIG, key=jax.random.key(0))


def make_padded_gpt2() -> Gpt2:
    return Gpt2.init(dataclasses.replace(CONFIG, padded_vocab_size=128), key=jax.random.key(0))


def rules_of(data: int, model: int) -> ShardingRules:
    return ShardingRules(make_mesh(data, model, jax.devices()[: data * model]))


def train(
    data: int,
    model: int,
    *,
    gather_once: bool = False,
    microbatches: int = 1,
    dtype=jnp.float32,
    divide_vocabulary: bool = False,
):
    rules = rules_of(data, model)
    if divide_vocabulary:
        rules = dataclasses.replace(rules, tensor_axes=(*rules.tensor_axes, "vocab"))
    state = init_state(make_padded_gpt2 if divide_vocabulary else make_gpt2, OPTIMIZER, rules)
    step = make_train_step(StepSettings(rules, OPTIMIZER, SCHEDULE, dtype, gather_once, dropout_key=None))
    placement = BatchPlacement(rules, BATCH, microbatches)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(STEPS):
        state, metrics = step(state, placement.place(Batch(rng.integers(0, 97, (BATCH, 17), dtype=np.int32))))
        losses.append(float(metrics["loss"]))
    return losses, state


@pytest.fixture(scope="module")
def one_device():
    return train(1, 1)


@pytest.mark.parametrize("gather_once", [False, True], ids=["layer by layer", "gathered once"])
@pytest.mark.parametrize(("data", "model"), [(8, 1), (4, 2), (2, 4), (1, 8)], ids=["8x1", "4x2", "2x4", "1x8"])
def test_losses_and_parameters_equal_those_of_one_device(data, model, gather_once, one_device):
    losses, state = train(data, model, gather_once=gather_once)

    np.testing.assert_allclose(losses, one_device[0], rtol=1e-5)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=2e-4),
        state.model,
        one_device[1].model,
    )


@pytest.mark.parametrize("gather_once", [False, True], ids=["layer by layer", "gathered once"])
@pytest.mark.parametrize(("data", "model"), [(2, 1), (4, 2), (1, 8)], ids=["2x1", "4x2", "1x8"])
def test_a_divided_vocabulary_trains_as_a_whole_one_and_its_padding_stays_zero(data, model, gather_once, one_device):
    losses, state = train(data, model, gather_once=gather_once, divide_vocabulary=True)

    np.testing.assert_allclose(losses, one_device[0], rtol=1e-5)
    wte, means = state.model.wte.array, state.opt_state[1]
    assert wte.addressable_shards[0].data.shape == (128 // model, 64 // data)
    np.testing.assert_allclose(wte[:97], one_device[1].model.wte.array, atol=2e-4)
    for padded in (wte, means.mu.wte.array, means.nu.wte.array):
        np.testing.assert_array_equal(padded[97:], 0)


@pytest.mark.parametrize("gather_once", [False, True], ids=["layer by layer", "gathered once"])
def test_accumulated_microbatches_equal_one_batch(gather_once, one_device):
    losses, _ = train(2, 1, gather_once=gather_once, microbatches=4)

    np.testing.assert_allclose(losses, one_device[0], rtol=1e-5)


def test_bfloat16_keeps_parameters_and_optimizer_in_float32_and_learns(one_device):
    losses, state = train(4, 2, dtype=jnp.bfloat16)

    assert {leaf.dtype for leaf in jax.tree.leaves((state.model, state.opt_state[1].mu))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(losses, one_device[0], rtol=2e-2)


@pytest.mark.parametrize("elastic", [False, True], ids=["fast", "elastic"])
def test_the_optimizer_is_updated_once_per_step(elastic):
    """Levanter once did it twice. The first update of Adam moves each number by the learning rate, and by no more."""
    spec = AdamWSpec(learning_rate=1e-2, weight_decay=0, lr_schedule="constant", warmup=0, max_grad_norm=None)
    config = Gpt2Config(Gpt2Spec(seq_len=8, hidden_dim=16, num_layers=1, num_heads=2), vocab_size=31)
    rules, optimizer = rules_of(1, 1), make_optimizer(spec, num_steps=10)
    step = make_train_step(
        StepSettings(rules, optimizer, learning_rate_schedule(spec, 10), jnp.dtype("float32"), True, None, elastic)
    )
    before = init_state(lambda: Gpt2.init(config, key=jax.random.key(0)), optimizer, rules)
    numbers = jax.tree.map(np.asarray, before.model)  # the step takes the state's memory
    tokens = np.random.default_rng(0).integers(0, 31, (4, 9), dtype=np.int32)

    after, _ = step(before, BatchPlacement(rules, 4, 2).place(Batch(tokens)))

    moved = jax.tree.map(lambda new, old: np.abs(np.asarray(new) - old), after.model, numbers)
    assert max(float(leaf.max()) for leaf in jax.tree.leaves(moved)) == pytest.approx(1e-2, rel=1e-3)
    assert (int(after.step), int(after.opt_state[1].count)) == (1, 1)


@pytest.mark.parametrize(("data", "model"), [(8, 1), (4, 2), (2, 4), (1, 8)], ids=["8x1", "4x2", "2x4", "1x8"])
def test_no_device_holds_a_whole_parameter(data, model):
    """With tensor parallelism alone, what has neither heads nor MLP stays whole; FSDP divides everything."""
    state = init_state(make_gpt2, OPTIMIZER, rules_of(data, model))
    for path, leaf in jax.tree_util.tree_flatten_with_path((state.model, state.opt_state[1].mu))[0]:
        shard = leaf.addressable_shards[0].data
        name = jax.tree_util.keystr(path)
        if data > 1:
            assert shard.size * data <= leaf.size, name
        if "attn.c_attn" in name or "mlp.c_fc" in name:
            assert shard.size * data * model == leaf.size, name


def test_shards_have_the_shapes_that_the_axes_say():
    state = init_state(make_gpt2, OPTIMIZER, rules_of(4, 2))
    shard_shape = lambda leaf: leaf.array.addressable_shards[0].data.shape  # noqa: E731
    block = state.model.blocks.blocks

    assert shard_shape(block.attn.c_attn.weight) == (2, 64 // 4, 3, 8 // 2, 8)
    assert shard_shape(block.attn.c_attn.bias) == (2, 3, 8 // 2, 8 // 4)
    assert shard_shape(block.mlp.c_fc.weight) == (2, 64 // 4, 256 // 2)
    assert shard_shape(block.mlp.c_fc.bias) == (2, 256 // 8)
    assert shard_shape(block.ln_1.weight) == (2, 64 // 4)
    assert shard_shape(state.model.wte) == (97, 64 // 4)


def test_shapes_are_known_without_computing_and_initial_values_do_not_depend_on_the_mesh():
    shapes = state_shapes(make_gpt2, OPTIMIZER, rules_of(2, 4))
    ours, other = (init_state(make_gpt2, OPTIMIZER, rules_of(*mesh)) for mesh in ((2, 4), (8, 1)))

    for shape, leaf in zip(jax.tree.leaves(shapes), jax.tree.leaves(ours), strict=True):
        assert (shape.shape, shape.dtype, shape.sharding) == (leaf.shape, leaf.dtype, leaf.sharding)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), ours, other)


def test_an_axis_that_cannot_be_divided_leaves_the_parameter_whole():
    rules = rules_of(8, 1)
    assert rules.data_axis((hax.Axis("vocab", 97), hax.Axis("embed", 12))) is None
    assert rules.data_axis((hax.Axis("layers", 8), hax.Axis("embed", 12))) is None
