"""`lateen checkpoints`."""

import json
import shutil
import subprocess
import sys

import jax.numpy as jnp
import pytest
from click.testing import CliRunner
from lateen_api.spec.checkpoint import KeepRule
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.cli import checkpoints


@pytest.fixture
def folder(tmp_path):
    """A complete, a damaged, and a torn checkpoint, each of 8,000 bytes."""
    kept = Checkpoints(str(tmp_path), job="nano", keep=[KeepRule(every=1)], now=lambda: 1e9)
    for step in (5, 6, 7):
        kept.save(step, {"w": jnp.arange(2000.0)}, {}, block=True)
    data = tmp_path / "step-00000006" / "arrays" / "w" / "c" / "0"
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    (tmp_path / "step-00000007" / "manifest.json").unlink()
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(checkpoints, [str(argument) for argument in arguments])


def test_a_table_shows_what_manifests_tell(folder):
    result = run(folder)
    lines = [line.split() for line in result.output.splitlines()]
    assert [[line[0], *line[1:3], *line[-3:]] for line in lines[1:3]] == [
        ["5", "0.0", "MB", "complete", "nano", "step-00000005"],
        ["6", "0.0", "MB", "complete", "nano", "step-00000006"],
    ]
    assert lines[0] == ["STEP", "SIZE", "AGE", "STATE", "JOB", "FOLDER"]
    assert lines[3] == ["7", "-", "-", "incomplete", "-", "step-00000007"]
    assert result.exit_code == 0


def test_verifying_finds_damage_and_ends_with_46(folder):
    result = run(folder, "--verify", "-o", "json")
    assert [(row["step"], row["state"], row["bytes"], row["damage"]) for row in json.loads(result.output)] == [
        (5, "complete", 8000, None),
        (6, "corrupt", 8000, "chunk 0 of w does not have the digest that the manifest states"),
        (7, "incomplete", None, None),
    ]
    assert result.exit_code == 46


def test_damage_is_told_below_the_table(folder):
    assert "step-00000006: chunk 0 of w does not have the digest" in run(folder, "--verify").output


def test_one_that_was_set_aside_is_shown_but_is_no_alarm(folder):
    (folder / "step-00000006").rename(folder / "step-00000006.corrupt")
    result = run(folder, "--verify", "-o", "json")
    assert [(row["name"], row["state"]) for row in json.loads(result.output)][1] == ("step-00000006.corrupt", "corrupt")
    assert result.exit_code == 0


def test_a_folder_that_is_not_there_is_a_users_error(tmp_path):
    result = run(tmp_path / "nowhere")
    assert result.exit_code == 40
    assert result.output == (
        f"Error: {tmp_path}/nowhere: no such folder; expected the spec.checkpoint.path of a job.\n"
    )


def test_it_starts_without_jax():
    code = "import sys, lateen_trainer.checkpoint.cli; sys.exit('jax' in sys.modules or 'haliax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("options", [(), ("--verify",), ("-o", "json")])
def test_a_folder_that_holds_no_checkpoints_is_an_error(tmp_path, options):
    (tmp_path / "logs").mkdir()
    result = run(tmp_path, *options)
    assert result.exit_code == 40
    assert result.output.startswith(f"Error: {tmp_path}: no folder of checkpoints; expected the spec.checkpoint.path")


def test_the_folder_of_one_checkpoint_is_no_folder_of_checkpoints(folder):
    result = run(folder / "step-00000005", "--verify")
    assert (result.exit_code, "step-00000005: no folder of checkpoints" in result.output) == (40, True)


def test_a_folder_that_an_attempt_has_just_claimed_is_no_error(tmp_path):
    Checkpoints(str(tmp_path)).claim("attempt 1 of nano")
    result = run(tmp_path, "--verify")
    assert result.exit_code == 0
    assert "an attempt has claimed the folder, and no checkpoint was saved yet" in result.output


def test_a_folder_whose_checkpoints_are_gone_ends_with_46(folder):
    for path in folder.glob("step-*"):
        shutil.rmtree(path)
    result = run(folder)
    assert (result.exit_code, "one of step 7 was committed" in result.output) == (46, True)
