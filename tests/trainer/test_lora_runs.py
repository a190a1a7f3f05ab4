"""Whole runs with LoRA and averaged weights: begun with a folder, stopped, gone on with, exported."""

from typing import Any

import jax
import numpy as np
import pytest
from click.testing import CliRunner, Result
from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.termination import ExitCode
from lateen_trainer.checkpoint.folder import CheckpointFolder
from lateen_trainer.checkpoint.read import read_arrays
from lateen_trainer.checkpoint.state import Leaf
from lateen_trainer.hugging_face.adapter import WEIGHTS
from lateen_trainer.hugging_face.cli import export
from lateen_trainer.hugging_face.initial import find_checkpoint
from safetensors.numpy import load_file
from small_runs import SmallRuns
from trainer.hugging_face.folders import random_reference
from trainer.models.small_specs import small_spec

LORA = "trainer.lora={rank: 2, alpha: 8, dropout: 0.1, targets: [all-linear]}"
C_FC = "transformer.h.0.mlp.c_fc"
OURS = "mlp.c_fc"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> SmallRuns:
    """`whole` has trained 4 steps at a stretch; `parts` two of them, and the others from its checkpoint."""
    runs = SmallRuns(tmp_path_factory.mktemp("lora"), seq_len=16, batch_size=16, steps=4)
    runs.text.write_text("A sentence that is long enough for some sequences of sixteen bytes. " * 60)
    spec = runs.job["spec"]
    random_reference(small_spec({"type": "gpt2", **spec["model"]}), 257).save_pretrained(runs.folder / "base")
    spec["trainer"] |= {"initializeFrom": str(runs.folder / "base"), "ema": {"decay": 0.5}}
    spec["optimizer"] |= {"lrSchedule": "constant", "warmup": 1}
    spec["export"] = {"huggingFace": "hf"}
    assert runs.run("whole", LORA).exit_code is ExitCode.DONE
    assert runs.run("parts", LORA, "trainer.numTrainSteps=2").exit_code is ExitCode.DONE
    assert runs.run("parts", LORA).start_step == 2
    return runs


def test_losses_and_exported_averages_are_the_same_bits(runs):
    """In the checkpoints too: model, adapters, running means and averages."""
    assert runs.losses("parts") == runs.losses("whole")
    whole, parts = ((runs.folder / name / "hf" / WEIGHTS).read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    whole, parts = (all_arrays(runs.checkpoints(name)) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        assert values.tobytes() == parts[name].tobytes(), name


def all_arrays(checkpoints: CheckpointFolder) -> dict[str, np.ndarray]:
    """All arrays of the last checkpoint."""
    manifest = checkpoints.look(checkpoints.steps()[-1]).manifest
    assert manifest is not None
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    leaves = [
        Leaf(name, jax.ShapeDtypeStruct(entry.layout.shape, entry.layout.dtype, sharding=sharding), entry.layout.axes)
        for name, entry in manifest.arrays.items()
    ]
    arrays = read_arrays(checkpoints.kvstore(manifest.step), manifest, leaves)
    return {leaf.name: np.asarray(array) for leaf, array in zip(leaves, arrays, strict=True)}


def test_the_model_is_the_one_of_the_folder_and_nothing_is_kept_of_it_but_itself(runs):
    held, base = all_arrays(runs.checkpoints("whole")), load_file(runs.folder / "base" / "model.safetensors")
    assert held[f"model.base.blocks.blocks.{OURS}.weight"][0].tobytes() == base[f"{C_FC}.weight"].tobytes()
    assert held["model.base.wte"].tobytes() == base["transformer.wte.weight"].tobytes()
    others = [name for name in held if not name.startswith("model.base.") and held[name].ndim > 0]
    assert others
    assert all(".adapters." in name for name in others)


def test_averages_are_exported_and_not_the_last_weights(runs):
    held, exported = all_arrays(runs.checkpoints("whole")), load_file(runs.folder / "whole" / "hf" / WEIGHTS)
    of_file = exported[f"base_model.model.{C_FC}.lora_B.weight"].T
    np.testing.assert_array_equal(of_file, held[f"ema.adapters.{OURS}.lora_b"][0])
    assert np.abs(of_file - held[f"model.adapters.{OURS}.lora_b"][0]).max() > 1e-4


def test_the_command_exports_what_the_run_did(runs, tmp_path):
    exported = run_export(runs.folder / "whole" / "checkpoints", tmp_path / "adapter")

    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "adapter" / WEIGHTS).read_bytes() == (runs.folder / "whole" / "hf" / WEIGHTS).read_bytes()


def test_the_command_exports_a_merged_model_that_transformers_agrees_with(runs, tmp_path):
    merged = run_export(runs.folder / "whole" / "checkpoints", tmp_path / "merged", "--lora", "merged", "--verify")

    assert merged.exit_code == 0, merged.output
    assert "Verified" in merged.output
    held, base = all_arrays(runs.checkpoints("whole")), load_file(runs.folder / "base" / "model.safetensors")
    a, b = (held[f"ema.adapters.{OURS}.{matrix}"][0].astype(np.float64) for matrix in ("lora_a", "lora_b"))
    weight = load_file(tmp_path / "merged" / "model.safetensors")[f"{C_FC}.weight"]
    np.testing.assert_allclose(weight, base[f"{C_FC}.weight"] + 8 / 2 * a @ b, atol=1e-6)


def run_export(*arguments: Any) -> Result:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


def test_adapters_alone_cannot_be_verified(runs, tmp_path):
    refused = run_export(runs.folder / "whole" / "checkpoints", tmp_path / "out", "--verify")
    assert refused.exit_code == ExitCode.USER_ERROR
    assert refused.output == (
        "Error: --verify computes with a whole model, and adapters are none: expected --lora merged beside it.\n"
    )
    assert not (tmp_path / "out").exists()


def test_another_alpha_is_refused(runs):
    outcome = runs.run("whole", LORA.replace("alpha: 8", "alpha: 4"), "trainer.numTrainSteps=5")
    assert outcome.exit_code is ExitCode.USER_ERROR
    assert (
        "was trained with spec.trainer.lora.alpha 8, and the job has 4: expected the same, since its adapters count "
        "alpha / rank times. Set it as it was, or choose another spec.checkpoint.path."
    ) in outcome.message


def test_a_run_cannot_begin_with_a_model_and_adapters(runs):
    checkpoints = runs.folder / "whole" / "checkpoints"
    outcome = runs.run("other", f"trainer.initializeFrom={checkpoints}", "export.huggingFace=null")
    assert outcome.exit_code is ExitCode.USER_ERROR
    _, manifest = find_checkpoint(ModelFolder(str(checkpoints), "CHECKPOINT"))
    assert outcome.message == (
        f"spec.trainer.initializeFrom: {checkpoints}/step-{manifest.step:08} is of a run with trainer.lora, a model "
        "and adapters beside it: expected a model alone. "
        f"`lateen export --lora merged {checkpoints}/step-{manifest.step:08} FOLDER` makes one."
    )


def test_checkpoints_without_adapters_are_not_taken_for_some_with(runs):
    outcome = runs.run("whole", "trainer.lora=null", "trainer.ema=null", "trainer.numTrainSteps=5")
    assert outcome.exit_code is ExitCode.USER_ERROR
    assert "is of another model" in outcome.message
    assert "spec.trainer.lora" in outcome.message
