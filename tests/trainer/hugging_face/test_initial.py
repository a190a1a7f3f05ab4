"""A run that starts from a checkpoint of another run: other optimizer, other layout, other types."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lateen_api.hugging_face.initial_model import with_initial_model
from lateen_api.plan import make_plan
from lateen_api.spec import LMTrainingJob
from lateen_api.spec.checkpoint import KeepRule
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.state import named_leaves
from lateen_trainer.errors import CorruptCheckpointError, UserError
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.initial import initial_state
from lateen_trainer.hugging_face.pin import resolved
from lateen_trainer.run import Run
from lateen_trainer.step.state import TrainState
from trainer.models.small_specs import LLAMA

BODY = {**LLAMA, "numLayers": 2}


def job(
    model: dict[str, Any] | None = BODY, devices: int = 2, optimizer: str = "adamw", **trainer: Any
) -> LMTrainingJob:
    spec = {
        "data": {"tokenizer": "bytes", "trainUrls": ["a.txt"]},
        "trainer": {"trainBatchSize": 32, **trainer},
        "optimizer": {"type": optimizer},
        "compute": {"devicesPerHost": devices},
        **({} if model is None else {"model": model}),
    }
    return LMTrainingJob.model_validate({"metadata": {"name": "small"}, "spec": spec})


def run_of(job: LMTrainingJob) -> Run:
    plan = make_plan(job, cores=8)
    return Run.build(job.spec, plan, plan.vocab_size, jax.devices()[: plan.devices])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    """Steps 10 and 20 of a run with AdamW and averaged weights that it does not use, over two devices."""
    folder = tmp_path_factory.mktemp("first") / "checkpoints"
    save(job(ema={"use": False}), folder)
    return folder


def save(one: LMTrainingJob, folder: Path, dtype: str = "float32") -> None:
    """Checkpoints whose weights are what the run draws, and the step; less the step in the averaged ones."""
    run, kept = run_of(one), Checkpoints(str(folder), job="small", keep=[KeepRule(every=10)])
    metadata = {"about": AboutRun.of(one, run.plan, 256).to_json()}
    state = run.init_state()
    for step in (10, 20):
        model = jax.tree.map(lambda array, step=step: (array + step).astype(dtype), state.model)
        ema = jax.tree.map(lambda array, step=step: array - step, state.model)
        kept.save(step, TrainState(jnp.int32(step), model, state.opt_state, ema), metadata, block=True)


def values(tree: Any) -> dict[str, np.ndarray]:
    return {leaf.name: np.asarray(leaf.array) for leaf in named_leaves(tree)}


@functools.cache
def drawn() -> dict[str, np.ndarray]:
    """What a run draws."""
    return values(run_of(job()).init_state().model)


@pytest.mark.parametrize(
    "other",
    [{"optimizer": "lion"}, {"devices": 8, "modelAxisSize": 2}, {"optimizer": "muon", "devices": 4, "ema": {}}],
    ids=["optimizer", "layout", "all of it"],
)
def test_only_the_weights_are_taken_whatever_the_rest_is(other, checkpoints):
    run = run_of(job(**other))

    state, imported = initial_state(run, str(checkpoints))

    assert imported is None
    assert int(state.step) == 0
    for array, shape in zip(jax.tree.leaves(state), jax.tree.leaves(run.state_shapes()), strict=True):
        assert (array.shape, array.dtype, array.sharding) == (shape.shape, shape.dtype, shape.sharding)
    for name, expected in drawn().items():
        np.testing.assert_array_equal(values(state.model)[name], expected + 20, err_msg=name)
    if run.settings.ema_decay is not None:
        jax.tree.map(np.testing.assert_array_equal, state.ema, state.model)


def test_weights_of_another_type_are_converted(tmp_path):
    save(job(ema={"use": False}), tmp_path, "bfloat16")

    state, _ = initial_state(run_of(job()), str(tmp_path))

    for name, expected in drawn().items():
        held = values(state.model)[name]
        assert held.dtype == np.float32
        np.testing.assert_array_equal(held, (expected + 20).astype(jnp.bfloat16).astype(np.float32), err_msg=name)


def test_one_step_may_be_named(checkpoints):
    state, _ = initial_state(run_of(job()), str(checkpoints / "step-00000010"))

    name, expected = next(iter(drawn().items()))
    np.testing.assert_array_equal(values(state.model)[name], expected + 10)


def test_the_folder_of_a_run_becomes_its_newest_step(checkpoints):
    assert resolved(str(checkpoints)) == str(checkpoints / "step-00000020")


def test_averaged_weights_are_taken_of_a_run_that_uses_them(tmp_path):
    save(job(ema={}), tmp_path)

    state, _ = initial_state(run_of(job()), str(tmp_path))

    for name, expected in drawn().items():
        np.testing.assert_array_equal(values(state.model)[name], expected - 20, err_msg=name)


@pytest.mark.parametrize("padded_first", [True, False])
def test_a_padded_vocabulary_is_neither_lost_nor_kept(padded_first, tmp_path):
    axes = ["mlp", "heads", "vocab"]
    padded, plain = ({"tensorParallelAxes": axes} if wanted else {} for wanted in (True, False))
    first, second = (padded, plain) if padded_first else (plain, padded)
    save(job(ema={}, **first), tmp_path)

    state, _ = initial_state(run_of(job(**second)), str(tmp_path))

    held = values(state.model)["embed_tokens"]
    assert held.shape[0] == (257 if padded_first else 384)
    np.testing.assert_array_equal(held[:257], drawn()["embed_tokens"] - 20)
    assert not held[257:].any()


def test_the_model_that_is_left_out_is_that_of_the_checkpoint(checkpoints):
    for url in (checkpoints, checkpoints / "step-00000010"):
        resolved = with_initial_model(job(None, initializeFrom=str(url))).spec.model

        assert resolved == job({**BODY, "vocabSize": 257}).spec.model
    how = with_initial_model(job({"type": "llama", "seqLen": 12}, initializeFrom=str(checkpoints))).spec.model
    assert (how.seq_len, how.num_layers) == (12, 2)


def test_a_model_that_differs_is_named_with_both_values(checkpoints):
    with pytest.raises(Exception) as caught:
        with_initial_model(job({**BODY, "numLayers": 3}, initializeFrom=str(checkpoints)))

    assert str(caught.value) == (
        "spec.model.numLayers: is 3, and step-00000020/manifest.json of spec.trainer.initializeFrom "
        f"{checkpoints} has 2: expected the same. Leave spec.model out to take it from there."
    )


def test_a_checkpoint_of_another_model_is_refused_by_its_arrays(checkpoints):
    with pytest.raises(UserError) as caught:
        initial_state(run_of(job({**BODY, "intermediateDim": 64})), str(checkpoints))

    assert "model.blocks.blocks.mlp.down_proj.weight: the job's model has " in str(caught.value)
    assert str(caught.value).startswith(
        f"spec.trainer.initializeFrom: {checkpoints}/step-00000020 is of another model:\n"
    )


def test_a_damaged_checkpoint_is_named(tmp_path):
    save(job(ema={"use": False}), tmp_path)
    for file in (tmp_path / "step-00000020" / "arrays").rglob("*"):
        if file.is_file() and file.name != "zarr.json":
            file.write_bytes(bytes(file.stat().st_size))

    with pytest.raises(CorruptCheckpointError, match=r"^spec\.trainer\.initializeFrom: .*/step-00000020 is corrupt: "):
        initial_state(run_of(job()), str(tmp_path))


def test_a_manifest_that_is_no_json_counts_for_nothing(checkpoints, tmp_path):
    (tmp_path / "step-00000030").mkdir()
    (tmp_path / "step-00000030" / "manifest.json").write_text("{")
    (tmp_path / "step-00000020").symlink_to(checkpoints / "step-00000020")

    model = with_initial_model(job(None, initializeFrom=str(tmp_path))).spec.model

    assert model == job({**BODY, "vocabSize": 257}).spec.model
