"""What the plan says of a model beside the model itself, for every family and option."""

import re
from typing import Any, get_args

import haliax as hax
import jax
import numpy as np
import pytest
from haliax import Axis, NamedArray
from lateen_api.plan import parameter_count
from lateen_api.plan.architecture import architecture
from lateen_api.spec import AdamWSpec, ModelSpec
from lateen_trainer.models.families import FAMILIES, init_model, make_config
from lateen_trainer.optim.parameters import rule_of
from trainer.models.small_specs import ALL, VOCAB, small_spec


def shapes_of(body: dict[str, Any]) -> Any:
    """The model of a spec without its values."""
    config = make_config(small_spec(body), VOCAB)
    return jax.eval_shape(lambda: init_model(config, key=jax.random.key(0)))


def by_name(model: Any) -> dict[str, Any]:
    """All leaves by the names that checkpoints give them."""
    leaves = jax.tree_util.tree_leaves_with_path(model, is_leaf=lambda leaf: isinstance(leaf, NamedArray))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


@pytest.mark.parametrize("body", ALL.values(), ids=ALL)
def test_the_plan_knows_every_array_of_the_model_by_name_and_axes(body: dict[str, Any]):
    model = shapes_of(body)

    planned = {p.name: list(p.axes.items()) for p in architecture(small_spec(body), VOCAB).parameters}

    assert planned == {name: [(axis.name, axis.size) for axis in leaf.axes] for name, leaf in by_name(model).items()}
    assert parameter_count(small_spec(body), VOCAB) == sum(leaf.size for leaf in jax.tree.leaves(model))


@pytest.mark.parametrize("body", ALL.values(), ids=ALL)
def test_matrices_decay_and_biases_and_norms_do_not(body: dict[str, Any]):
    """Levanter's mask misses cases: it goes by names, and those of biases with several axes were not among them."""
    spec = AdamWSpec(weight_decay=0.1)
    decayed = {name for name, leaf in by_name(shapes_of(body)).items() if rule_of(spec, name, leaf).weight_decay > 0}

    exempt = re.compile(r"bias|.*norm.*|ln|ln_.*|.*_ln")
    assert decayed == {
        name for name in by_name(shapes_of(body)) if not any(exempt.fullmatch(part) for part in name.split("."))
    }
    assert decayed == {p.name for p in architecture(small_spec(body), VOCAB).parameters if p.is_matrix}, (
        "the plan counts other matrices"
    )


@pytest.mark.parametrize("body", ALL.values(), ids=ALL)
def test_a_padded_vocabulary_has_the_same_entries_and_logits(body: dict[str, Any]):
    spec, key = small_spec(body), jax.random.key(0)
    alone, padded = (init_model(make_config(spec, VOCAB, "cpu", size), key=key) for size in (None, 128))
    tokens = hax.random.randint(key, (Axis("batch", 2), Axis("position", 8)), 0, VOCAB)

    tables = {name: leaf for name, leaf in by_name(padded).items() if leaf.has_axis("vocab")}

    assert tables
    for name, table in tables.items():
        assert [axis.size for axis in table.axes] == [128, spec.hidden_dim]
        np.testing.assert_array_equal(table.array[:VOCAB], by_name(alone)[name].array)
        np.testing.assert_array_equal(table.array[VOCAB:], 0)
    np.testing.assert_allclose(padded.logits(tokens).array, alone.logits(tokens).array, atol=1e-6)


def test_every_type_of_the_spec_has_a_family():
    (specs, *_) = get_args(ModelSpec)
    types = [get_args(spec.model_fields["type"].annotation)[0] for spec in get_args(specs)]
    assert list(FAMILIES) == types
