"""Runs that end well whatever happens on the way.

Each takes some ten seconds, most of them imports and compilation in the processes that it starts; nothing smaller
shows that supervisor, processes, data, checkpoints and report hold together.
"""

import os
import signal

import pytest

pytestmark = pytest.mark.slow

STEPS = 60


def test_a_killed_process_costs_no_step_and_changes_no_loss(lateen_run):
    undisturbed = lateen_run("--hosts", "2", "--run-dir", "undisturbed")
    assert undisturbed.finish() == 0, undisturbed.output
    run = lateen_run("--hosts", "2", "--run-dir", "killed")

    run.wait_for_step(25)
    os.kill(run.trainers()[1], signal.SIGKILL)

    assert run.finish() == 0, run.output
    result = run.result()
    assert (result["attemptCount"], result["step"]) == (2, STEPS)
    assert "SIGKILL" in result["attempts"][0]["message"]
    assert list(run.steps()) == list(range(1, STEPS + 1))
    assert run.steps() == undisturbed.steps()
    assert result["validationLoss"] == undisturbed.result()["validationLoss"]
    attempts = {line["step"]: line["attempt"] for line in run.lines()}
    assert {attempts[step] for step in range(1, 21)} == {1}
    assert {attempts[step] for step in range(31, STEPS + 1)} == {2}


def test_ctrl_c_saves_and_the_same_command_goes_on(lateen_run):
    undisturbed = lateen_run("--run-dir", "undisturbed")
    assert undisturbed.finish() == 0, undisturbed.output
    run = lateen_run("--run-dir", "stopped")
    run.wait_for_step(13)
    run.process.send_signal(signal.SIGINT)
    assert run.finish(seconds=60) != 0
    assert "lateen run" in run.output
    trained = len(run.steps())
    assert 13 <= trained < STEPS

    resumed = lateen_run("--run-dir", "stopped")

    assert resumed.finish() == 0, resumed.output
    lines = [line for line in resumed.lines() if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert resumed.result()["attempts"][-1]["firstStep"] == trained
    assert resumed.steps() == undisturbed.steps()


def test_a_run_goes_on_at_another_width(lateen_run):
    undisturbed = lateen_run("--run-dir", "undisturbed")
    assert undisturbed.finish() == 0, undisturbed.output
    run = lateen_run("--hosts", "2", "--run-dir", "resized")
    run.wait_for_step(13)
    run.process.send_signal(signal.SIGTERM)
    assert run.finish(seconds=60) != 0

    resumed = lateen_run("--hosts", "1", "--run-dir", "resized")

    assert resumed.finish() == 0, resumed.output
    assert list(resumed.steps()) == list(range(1, STEPS + 1))
    assert resumed.steps() == undisturbed.steps()


def test_a_complete_run_is_not_trained_again(lateen_run):
    first = lateen_run()
    assert first.finish() == 0, first.output
    lines = first.lines()

    again = lateen_run()

    assert again.finish(seconds=20) == 0
    assert "complete" in again.output
    assert again.lines() == lines


def test_a_checkpoint_of_another_model_is_refused_and_left_alone(lateen_run, tmp_path):
    first = lateen_run("--set", "spec.trainer.numTrainSteps=20")
    assert first.finish() == 0, first.output
    before = sorted((tmp_path / "runs" / "small" / "checkpoints").iterdir())
    shared = f"spec.checkpoint.path={first.folder}/checkpoints"

    other = lateen_run("--run-dir", "other", "--set", shared, "--set", "spec.model.hiddenDim=64")

    assert other.finish() == 40, other.output
    assert "spec.checkpoint.path" in other.output
    assert "[257, 32]" in other.output or "(257, 32)" in other.output
    assert sorted((tmp_path / "runs" / "small" / "checkpoints").iterdir()) == before


def test_the_environment_does_not_reach_the_numbers(lateen_run, monkeypatch):
    undisturbed = lateen_run("--run-dir", "undisturbed", "--set", "trainer.numTrainSteps=10")
    assert undisturbed.finish() == 0, undisturbed.output
    for name, value in (
        ("JAX_ENABLE_X64", "1"),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg"),
        ("JAX_NUMPY_RANK_PROMOTION", "raise"),
    ):
        monkeypatch.setenv(name, value)
    run = lateen_run("--run-dir", "hostile", "--set", "trainer.numTrainSteps=10")
    assert run.finish() == 0, run.output
    assert run.steps() == undisturbed.steps()
    assert run.result()["validationLoss"] == undisturbed.result()["validationLoss"]


def test_a_run_whose_checkpoints_are_gone_keeps_its_figures_and_ends(lateen_run):
    short = ("--set", "trainer.numTrainSteps=10")
    assert lateen_run(*short).finish() == 0
    folder = lateen_run(*short).folder
    (folder / "checkpoints").rename(folder / "aside")
    before = (folder / "metrics.jsonl").read_bytes()

    longer = lateen_run("--set", "trainer.numTrainSteps=20")

    assert longer.finish() == 46, longer.output
    assert f"spec.checkpoint.path is '{folder}/checkpoints': there is no checkpoint" in longer.output
    assert (folder / "metrics.jsonl").read_bytes() == before
    found = lateen_run("--set", "trainer.numTrainSteps=20", "--set", "checkpoint.path=aside")
    assert found.finish() == 0, found.output
    assert "attempt 3 starts from the checkpoint of step 10" in found.output
    assert list(found.steps()) == list(range(1, 21))
