"""From a tree of arrays to named boxes in host memory."""

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from lateen_trainer.checkpoint.state import layout_of, named_leaves, to_host
from trainer.checkpoint.states import EMBED, MLP, mesh, state


def test_names_are_paths_and_named_arrays_have_axes():
    leaves = {leaf.name: (leaf.shape, leaf.dtype, leaf.axes) for leaf in named_leaves(state(mesh(4, 2)))}
    assert leaves == {
        "model.block.weight": ((2, 16, 24), "float32", ("layers", "embed", "mlp")),
        "model.bias": ((16,), "float32", None),
        "optimizer.0": ((8, 4), "bfloat16", None),
        "optimizer.1": ((3, 5), "int32", None),
        "optimizer.2": ((), "int32", None),
        "optimizer.3": ((4, 4), "float32", None),
    }


def test_names_come_in_the_order_of_the_leaves():
    tree = {"b": hax.zeros((EMBED,)), "a": (jnp.ones(3), hax.zeros((MLP, EMBED))), "c": None}
    assert [leaf.shape for leaf in named_leaves(tree)] == [leaf.shape for leaf in jax.tree.leaves(tree)]


def test_a_leaf_that_is_no_array_is_named():
    with pytest.raises(TypeError, match=r"optimizer\.rate is a float: a checkpoint keeps jax arrays"):
        named_leaves({"optimizer": {"rate": 0.1}})


def test_typed_key_is_refused_with_advice():
    with pytest.raises(TypeError, match=r"key is a typed PRNG key: keep jax\.random\.key_data of it"):
        named_leaves({"key": jax.random.key(0)})


def test_two_leaves_of_one_name_are_refused():
    with pytest.raises(TypeError, match=r"two leaves of the state are called a\.b"):
        named_leaves({"a.b": jnp.ones(1), "a": {"b": jnp.ones(1)}})


def test_replicas_are_held_once():
    (leaf,) = named_leaves({"w": jax.device_put(jnp.arange(8), NamedSharding(mesh(4, 2), PartitionSpec("model")))})
    (held,) = to_host([leaf], process_index=0)
    assert sorted(held.pieces) == [((0, 4),), ((4, 8),)]


def test_one_process_makes_one_file_of_all_its_pieces():
    weight = {leaf.name: leaf for leaf in named_leaves(state(mesh(4, 2)))}["model.block.weight"]
    assert layout_of(weight).file_shape == weight.shape


def test_arrays_of_one_process_alone_are_left_to_process_0():
    (held,) = to_host(named_leaves({"count": jnp.int32(3)}), process_index=1)
    assert held.pieces == {}


def test_a_box_is_put_together_from_pieces():
    (leaf,) = named_leaves({"w": jax.device_put(jnp.arange(16), NamedSharding(mesh(8), PartitionSpec("data")))})
    (held,) = to_host([leaf], process_index=0)
    assert held.box(((1, 7),)).tolist() == [1, 2, 3, 4, 5, 6]


def test_snapshot_survives_donation():
    """On CPU the snapshot shares memory with the arrays; a step that is given them must not write there."""
    sharding = NamedSharding(mesh(8), PartitionSpec("data"))
    step = jax.jit(lambda x: x * 2 + 1, donate_argnums=0)
    x = step(jax.device_put(jnp.arange(8 * 4096, dtype=jnp.float32), sharding))
    expected = np.asarray(x).copy()
    (held,) = to_host(named_leaves({"x": x}), process_index=0)
    for _ in range(5):
        x = step(x)
    jax.block_until_ready(x)
    assert np.array_equal(held.box(((0, 8 * 4096),)), expected)


def test_snapshot_survives_deletion():
    x = jnp.arange(100_000) * 3
    (held,) = to_host(named_leaves({"x": x}), process_index=0)
    x.delete()
    others = [jax.block_until_ready(jnp.zeros(100_000, jnp.int32)) for _ in range(8)]
    assert np.array_equal(held.box(((0, 100_000),)), np.arange(100_000) * 3)
    del others
