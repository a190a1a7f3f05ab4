"""`lateen export`."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from lateen_api.hugging_face.checkpoint import ABOUT as KEY
from lateen_api.spec import LoraSpec
from lateen_api.spec.checkpoint import KeepRule
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.hugging_face import write
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.cli import export
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.export import ExportedModel, export_model
from lateen_trainer.hugging_face.imported import Imported
from lateen_trainer.models.families import init_model, make_config
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
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


def test_a_checkpoint_without_adapters_has_none_to_export(checkpoints, tmp_path):
    assert run(checkpoints, tmp_path / "out", "--lora", "adapter").output == (
        f"Error: --lora is adapter, and {checkpoints}/step-00000010 was trained without trainer.lora. Leave it out.\n"
    )


def test_what_a_checkpoint_says_of_its_run_comes_back():
    imported = Imported("hf://org/name@v1", {"model_type": "llama"}, None, "BF16", {"a": "F32"}, ("lm_head.weight",))
    lora = LoraSpec(rank=4, targets=["q_proj"])
    started = replace(ABOUT, started_from="hf://org/name@v1", imported=imported, lora=lora, averaged=True)

    assert AboutRun.from_metadata({KEY: json.loads(json.dumps(started.to_json()))}, "there") == started


def test_the_checkpoint_of_a_step_is_taken_and_one_that_is_not_there_is_named(checkpoints, tmp_path):
    kept = Checkpoints(str(checkpoints), job="small", keep=[KeepRule(every=10)])
    other = init_model(make_config(SPEC, 257), key=jax.random.key(1))
    kept.save(20, {"model": other}, {KEY: ABOUT.to_json()}, block=True)

    assert run(checkpoints, tmp_path / "ten", "--step", 10).exit_code == 0
    assert run(checkpoints, tmp_path / "newest").exit_code == 0
    assert run(checkpoints / "step-00000010", tmp_path / "again").exit_code == 0
    missing = run(checkpoints, tmp_path / "none", "--step", 11)

    ten, again, newest = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("ten", "again", "newest"))
    assert ten == again != newest
    assert missing.exit_code == 40
    assert missing.output == (
        f"Error: CHECKPOINT is {str(checkpoints)!r}: there is no complete checkpoint of step 11, expected one of 10, "
        "20. `lateen checkpoints` lists them.\n"
    )


def test_a_model_is_replaced_when_it_may_be_and_other_files_stay(checkpoints, tmp_path):
    assert run(checkpoints, tmp_path / "out", "--file-megabytes", 1).exit_code == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "model-00001-of-00002.safetensors").write_text("of an earlier model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")

    assert run(checkpoints, tmp_path / "out").exit_code == 40
    again = run(checkpoints, tmp_path / "out", "--overwrite", "--dtype", "float16")
    other = run(checkpoints, tmp_path / "other", "--overwrite")

    assert again.exit_code == 0, again.output
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors")] == ["model.safetensors"]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "float16"
    assert (other.exit_code, other.output) == (
        40,
        f"Error: {tmp_path / 'other'} holds notes.txt: expected a model, an empty folder, or a new one. "
        "Name another.\n",
    )


def test_another_tokenizer_is_written_if_the_model_has_its_entries(checkpoints, tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<|endoftext|>": 2}, unk_token="a"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    large = Tokenizer(models.WordLevel({"<|endoftext|>": 0} | {str(i): i for i in range(1, 300)}, unk_token="1"))
    large.save(str(tmp_path / "large.json"))

    result = run(checkpoints, tmp_path / "out", "--tokenizer", tmp_path / "tokenizer.json")
    refused = run(checkpoints, tmp_path / "not", "--tokenizer", tmp_path / "large.json")

    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "config.json").read_text())["eos_token_id"] == 2
    written = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert written.get_vocab() == {"a": 0, "b": 1, "<|endoftext|>": 2}
    assert refused.exit_code == 40
    assert "has 300 entries, and the model 257: expected at most as many." in refused.output
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3, biases of attention"])
def test_blocks_of_a_checkpoint_are_the_tensors_of_the_model(name, tmp_path, monkeypatch):
    """Of a padded vocabulary, in many blocks, with chunks that have parts of several layers."""
    spec = small_spec(ALL[name])
    config = make_config(spec, 257, padded_vocab_size=384)
    model = init_model(config, key=jax.random.key(0))
    averaged = jax.tree.map(lambda values: values + 1, model)
    for weights in (False, True):
        about = replace(ABOUT, model=spec, averaged=weights)
        kept = Checkpoints(str(tmp_path / f"run-{weights}"), job="small")
        kept.save(1, {"model": model, "ema": averaged}, {KEY: about.to_json()}, block=True)
        expected = ExportedModel(spec, 257, "bytes", 256, "")
        target = Destination(str(tmp_path / f"whole-{weights}"), field="FOLDER")
        export_model(averaged if weights else model, expected, target, file_bytes=1 << 30)
        monkeypatch.setattr(write, "BLOCK_BYTES", 3_000)

        assert run(tmp_path / f"run-{weights}", tmp_path / f"blocks-{weights}").exit_code == 0

        whole, blocks = (
            (tmp_path / f"{how}-{weights}" / "model.safetensors").read_bytes() for how in ("whole", "blocks")
        )
        assert whole == blocks


def test_a_damaged_checkpoint_is_no_model(checkpoints, tmp_path):
    name = "model.blocks.blocks.mlp.up_proj.weight"
    file = next(
        path
        for path in (checkpoints / "step-00000010" / "arrays" / name).rglob("*")
        if path.is_file() and path.name != "zarr.json"
    )
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)

    result = run(checkpoints, tmp_path / "out")

    assert result.exit_code == 46
    assert result.output == (
        f"Error: CHECKPOINT: {checkpoints}/step-00000010 is corrupt: chunk 0 of {name} does not have the digest that "
        "the manifest states. Name another checkpoint.\n"
    )
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_bucket_that_does_not_answer_is_named_within_seconds(tmp_path):
    """In a process of its own: TensorStore reads the address of the object store once."""
    address = "http://127.0.0.1:1"
    environ = {**os.environ, "STORAGE_EMULATOR_HOST": address, "TENSORSTORE_GCS_HTTP_URL": address}
    program = "import sys; from lateen_trainer.hugging_face.cli import export; export(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "gs://bucket/run", str(tmp_path / "out")],
        env=environ, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.returncode == 1
    assert "Error: CHECKPOINT is 'gs://bucket/run': the object store cannot be reached (" in done.stderr
    assert not (tmp_path / "out").exists()
