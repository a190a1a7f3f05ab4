"""Adapters beside models of every family: their arrays, what they begin as, and dropout."""

from dataclasses import replace
from typing import Any

import haliax as hax
import haliax.nn as hnn
import jax
import numpy as np
import pytest
from haliax import Axis, NamedArray
from lateen_api.plan.lora import all_parameters
from lateen_api.spec import LoraSpec
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.models.lora import LoraLinear, LoraModel, join_frozen, merged, split_trained
from trainer.models.small_specs import ALL, GPT2, LLAMA, VOCAB, small_spec

ALL_LINEAR = LoraSpec(rank=2, targets=["all-linear"])
TOKENS = hax.random.randint(jax.random.key(2), (Axis("batch", 2), Axis("position", 8)), 0, VOCAB)


def make(body: dict[str, Any], lora: LoraSpec = ALL_LINEAR) -> LoraModel:
    base = init_model(make_config(small_spec(body), VOCAB), key=jax.random.key(0))
    return LoraModel.init(base, lora, key=jax.random.key(1))


def filled(model: LoraModel) -> LoraModel:
    """The same with adapters that change something."""
    return replace(model, adapters=jax.tree.map(lambda x: x + 0.05, model.adapters))


def hidden(model: LoraModel, key: jax.Array | None) -> np.ndarray:
    return np.asarray(model.hidden(TOKENS, key=key).array)


@pytest.mark.parametrize("body", ALL.values(), ids=ALL)
def test_the_plan_knows_every_array_by_name_and_axes(body: dict[str, Any]):
    model = jax.eval_shape(lambda: make(body))
    leaves = jax.tree_util.tree_leaves_with_path(model, is_leaf=lambda leaf: isinstance(leaf, NamedArray))
    held = {
        jax.tree_util.keystr(path, simple=True, separator=".").removeprefix("base."): [
            (axis.name, axis.size) for axis in leaf.axes
        ]
        for path, leaf in leaves
    }
    assert held == {p.name: list(p.axes.items()) for p in all_parameters(small_spec(body), VOCAB, ALL_LINEAR)}


def test_new_adapters_change_nothing_and_have_the_range_of_pefts():
    model = make(GPT2)
    np.testing.assert_array_equal(hidden(model, None), np.asarray(model.base.hidden(TOKENS).array))
    for adapter in model.adapters.values():
        assert not adapter.lora_b.array.any()
        bound = np.prod(adapter.lora_a.array.shape[1:-1]) ** -0.5
        assert 0.9 * bound < np.abs(adapter.lora_a.array).max() <= bound
    first, second = (model.adapters[name].lora_a.array for name in ("attn.c_attn", "mlp.c_fc"))
    assert not np.array_equal(first, second)


def test_a_model_is_split_and_joined_again():
    model = make(LLAMA)
    trained, frozen = split_trained(model)
    assert len(jax.tree.leaves(trained)) == 2 * len(model.adapters)
    joined = join_frozen(trained, frozen)
    assert jax.tree.structure(joined) == jax.tree.structure(model)
    assert all(a is b for a, b in zip(jax.tree.leaves(joined), jax.tree.leaves(model), strict=True))
    assert split_trained(model.base) == (model.base, None)
    assert merged(model.base) is model.base


def test_dropout_acts_with_a_key_only_and_differs_by_key():
    model = filled(make(LLAMA, LoraSpec(rank=2, dropout=0.5, targets=["all-linear"])))
    without = hidden(model, None)
    one, other = (hidden(model, jax.random.key(number)) for number in (1, 2))
    np.testing.assert_array_equal(one, hidden(model, jax.random.key(1)))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, without)
    np.testing.assert_array_equal(hidden(replace(model, dropout=0.0), jax.random.key(1)), without)


def test_dropout_keeps_the_mean_of_what_is_added():
    """Inputs are dropped one by one, and the others are made larger."""
    In, Rank, Out = Axis("embed", 32), Axis("lora_rank", 2), Axis("mlp", 5)
    x, a, b = (
        hax.random.normal(jax.random.key(number), axes) for number, axes in enumerate([(In,), (In, Rank), (Rank, Out)])
    )
    linear = hnn.Linear.init(In, Out, key=jax.random.key(3))

    def apply(key: jax.Array | None, dropout: float) -> jax.Array:
        return LoraLinear(linear, a, b, key, scale=0.5, dropout=dropout)(x).array

    alone = linear(x).array
    drawn = jax.vmap(lambda key: apply(key, 0.3))(jax.random.split(jax.random.key(4), 20_000))

    added = np.asarray(x.array) @ np.asarray(a.array) @ np.asarray(b.array) * 0.5
    np.testing.assert_allclose(apply(None, 0.3) - alone, added, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(drawn.mean(0) - alone, added, atol=0.02 * np.linalg.norm(added))
    assert drawn.std(0).min() > 0.1
