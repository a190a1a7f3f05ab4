"""`lateen export`."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from lateen_api.hugging_face.checkpoint import ABOUT as KEY
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.cli import export
from lateen_trainer.hugging_face.imported import Imported
from lateen_trainer.models.families import init_model, make_config
from safetensors.torch import load_file
from trainer.models.small_specs import ALL, small_spec

SPEC = small_spec(ALL["llama"])
ABOUT = AboutRun(
    job="small", model=SPEC, vocab_size=257, tokenizer="bytes", end_of_text=256, parameters=36_000, tokens_per_step=512,
    optimizer={"type": "adamw", "learningRate": 0.001}, seed=3, data=("gs://corpus/*.txt",), started_from=None,
)  # fmt: skip


@pytest.fixture
def checkpoints(tmp_path) -> Path:
    """Checkpoints of two steps, and one that does not say what it is."""
    kept = Checkpoints(str(tmp_path / "run"), job="small")
    metadata = {"trainLoss": 2.5, "madeBy": {"jax": "0.10.2"}, KEY: ABOUT.to_json()}
    model = init_model(make_config(SPEC, 257), key=jax.random.key(0))
    kept.save(10, {"model": model, "step": np.int32(10) + jax.numpy.zeros((), int)}, metadata, block=True)
    old = Checkpoints(str(tmp_path / "old"), job="small")
    old.save(10, {"model": model}, {}, block=True)
    return tmp_path / "run"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


def test_a_checkpoint_becomes_a_folder_that_transformers_agrees_with(checkpoints, tmp_path):
    result = run(checkpoints, tmp_path / "out", "--verify")

    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first == f"{tmp_path / 'out'}: step 10 of small, 36,000 parameters"
    assert second.startswith("Verified: the parameters are those of the checkpoint, and the logits of transformers 5.")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| Training | 10 steps of 512 tokens, 5,120 tokens in all |" in card
    assert "| Training loss | 2.5000 nats per token |" in card
    assert "- `gs://corpus/*.txt`" in card


def test_another_type_and_small_files(checkpoints, tmp_path):
    result = run(checkpoints / "step-00000010", tmp_path / "out", "--dtype", "bfloat16", "--verify")

    assert result.exit_code == 0, result.output
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_a_folder_that_holds_something_is_left_alone(checkpoints, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")

    result = run(checkpoints, tmp_path / "out")

    assert result.exit_code == 40
    assert result.output == (
        f"Error: {tmp_path / 'out'} holds notes.txt: expected an empty folder, or a new one. Name another, or replace "
        "a model there with --overwrite.\n"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_what_is_no_checkpoint_is_named(checkpoints, tmp_path):
    (tmp_path / "empty").mkdir()

    assert run(tmp_path / "empty", tmp_path / "out").output == (
        f"Error: CHECKPOINT is {str(tmp_path / 'empty')!r}: there is neither config.json of a model in Hugging Face's "
        "format nor a complete checkpoint of lateen. Name the folder that holds one; `lateen checkpoints` lists those "
        "of a run.\n"
    )
    assert run(tmp_path / "old", tmp_path / "out").output == (
        f"Error: {tmp_path / 'old'}/step-00000010 does not say of which model it is: a version of lateen wrote it that "
        "could not export. Go on with the run for a step (spec.trainer.numTrainSteps), and export the checkpoint of "
        "that.\n"
    )


def test_what_a_checkpoint_says_of_its_run_comes_back():
    imported = Imported("hf://org/name@v1", {"model_type": "llama"}, None, "BF16", {"a": "F32"}, ("lm_head.weight",))
    started = replace(ABOUT, started_from="hf://org/name@v1", imported=imported)

    assert AboutRun.from_metadata({KEY: json.loads(json.dumps(started.to_json()))}, "there") == started
