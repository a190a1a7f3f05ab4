"""The state of each optimizer goes into a checkpoint, and out of it onto another number of devices."""

from typing import Any

import haliax as hax
import jax
import numpy as np
import pytest
from haliax import Axis, NamedArray
from lateen_api.spec import AdafactorSpec, AdamWSpec, LionSpec, MuonSpec, OptimizerSpec, SophiaGSpec, SophiaHSpec
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.errors import UserError
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.optim import make_optimizer
from lateen_trainer.step.state import TrainState, init_state, state_shapes

SPECS: dict[str, OptimizerSpec] = {
    "adamw": AdamWSpec(),
    "sophia-h": SophiaHSpec(type="sophia-h"),
    "sophia-g": SophiaGSpec(type="sophia-g"),
    "lion": LionSpec(type="lion"),
    "adafactor": AdafactorSpec(type="adafactor"),
    "muon": MuonSpec(type="muon"),
}


def make_model() -> dict[str, NamedArray]:
    """A stack of matrices, an embedding and a norm."""
    Layers, Embed, Mlp, Vocab = Axis("layers", 2), Axis("embed", 16), Axis("mlp", 24), Axis("vocab", 11)
    axes = {"fc.weight": (Layers, Embed, Mlp), "wte": (Vocab, Embed), "ln_f.weight": (Embed,)}
    return {name: hax.random.normal(jax.random.key(i), its) for i, (name, its) in enumerate(axes.items())}


def rules(data: int) -> ShardingRules:
    return ShardingRules(make_mesh(data, 1, jax.devices()[:data]))


def numbered(state: TrainState) -> TrainState:
    """Other numbers in each array: new states are mostly zeros."""
    leaves, structure = jax.tree.flatten(state)
    filled = [
        jax.device_put(np.arange(leaf.size).reshape(leaf.shape).astype(leaf.dtype) + i, leaf.sharding)
        for i, leaf in enumerate(leaves)
    ]
    return structure.unflatten(filled)


def save(folder: Any, kind: str, *, has_ema: bool = False) -> TrainState:
    on_eight = rules(8)
    optimizer = make_optimizer(SPECS[kind], 10, on_eight)
    state = numbered(init_state(make_model, optimizer, on_eight, has_ema=has_ema))
    Checkpoints(str(folder)).save(3, state, {"optimizer": kind}, block=True)
    return state


def restore(folder: Any, kind: str, devices: int, *, has_ema: bool = False) -> TrainState:
    on_few = rules(devices)
    optimizer = make_optimizer(SPECS[kind], 10, on_few)
    restored = Checkpoints(str(folder)).restore(state_shapes(make_model, optimizer, on_few, has_ema=has_ema))
    assert restored is not None
    return restored[0]


@pytest.mark.parametrize("kind", SPECS)
def test_the_state_comes_back_on_another_number_of_devices(tmp_path, kind):
    saved = save(tmp_path, kind, has_ema=True)
    for devices in (2, 1):
        restored = restore(tmp_path, kind, devices, has_ema=True)
        assert jax.tree.structure(restored) == jax.tree.structure(saved)
        jax.tree.map(np.testing.assert_array_equal, restored, saved)
        weight = restored.model["fc.weight"].array
        assert weight.sharding.shard_shape(weight.shape) == (2, 16 // devices, 24)


def test_adafactors_means_are_as_small_as_rows_and_columns():
    state = save_shapes("adafactor")
    assert state.rows["fc.weight"].array.shape == (2, 16)
    assert state.columns["fc.weight"].array.shape == (2, 24)
    assert state.squares["fc.weight"] is None
    assert state.squares["ln_f.weight"].array.shape == (16,)


def save_shapes(kind: str) -> Any:
    return state_shapes(make_model, make_optimizer(SPECS[kind], 10), rules(1)).opt_state[1]


def test_muon_keeps_one_array_of_a_matrix_and_two_of_the_rest():
    state = save_shapes("muon")
    assert [name for name, leaf in state.momentum.items() if leaf is not None] == ["fc.weight"]
    assert [name for name, leaf in state.adam.nu.items() if leaf is not None] == ["ln_f.weight", "wte"]


@pytest.mark.parametrize(("before", "now"), [("adamw", "lion"), ("muon", "adamw"), ("lion", "adafactor")])
def test_another_optimizer_is_a_users_error_that_names_the_one_before(tmp_path, before, now):
    save(tmp_path, before)
    with pytest.raises(UserError) as raised:
        restore(tmp_path, now, 2)
    assert str(raised.value) == (
        f"spec.checkpoint.path: {tmp_path}/step-00000003 was trained with spec.optimizer.type {before}, whose state is "
        f"no use to the job's: expected the same. Set spec.optimizer.type to {before}, or choose another "
        "spec.checkpoint.path."
    )


@pytest.mark.parametrize(
    ("had", "message"),
    [
        (False, "has no averaged weights, and the job asks for them"),
        (True, "has averaged weights, and the job asks for none"),
    ],
)
def test_averaged_weights_on_one_side_only_are_a_users_error(tmp_path, had, message):
    save(tmp_path, "adamw", has_ema=had)
    with pytest.raises(UserError) as raised:
        restore(tmp_path, "adamw", 2, has_ema=not had)
    assert str(raised.value) == (
        f"spec.checkpoint.path: {tmp_path}/step-00000003 {message} (spec.trainer.ema): expected the same. "
        "Set spec.trainer.ema as it was, or choose another spec.checkpoint.path."
    )
