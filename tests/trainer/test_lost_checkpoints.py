"""A run that is known to have checkpoints does not begin again at step 0 because it does not find them."""

import shutil

import pytest
from lateen_api.termination import ExitCode
from lateen_trainer.report.prometheus import PrometheusTracker
from small_runs import SmallRuns

STEPS = 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> SmallRuns:
    """The run `run`, complete after 4 steps."""
    runs = SmallRuns(tmp_path_factory.mktemp("lost"), seq_len=16, batch_size=16, steps=STEPS)
    runs.text.write_text("A sentence that is long enough for some sequences of sixteen bytes. " * 60)
    assert runs.run("run").exit_code is ExitCode.DONE
    return runs


@pytest.fixture
def runs(trained, tmp_path) -> SmallRuns:
    """A copy of it."""
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)
    copy = SmallRuns(tmp_path, seq_len=16, batch_size=16, steps=STEPS)
    copy.text = trained.text
    copy.job["spec"]["data"]["trainUrls"] = trained.job["spec"]["data"]["trainUrls"]
    return copy


LONGER = "trainer.numTrainSteps=6"


def test_a_folder_without_any_is_refused_before_anything_is_written(runs):
    checkpoints = runs.folder / "run" / "checkpoints"
    checkpoints.rename(runs.folder / "aside")
    metrics = (runs.folder / "run" / "metrics.jsonl").read_bytes()

    outcome = runs.run("run", LONGER, known_step=4)

    assert outcome.exit_code is ExitCode.CORRUPT_CHECKPOINT
    assert f"spec.checkpoint.path is '{checkpoints}': there is no checkpoint" in outcome.message
    assert "one of step 4: expected that one, or a later one" in outcome.message
    assert "--fresh" in outcome.message
    assert (outcome.step, outcome.start_step) == (None, None)
    assert not checkpoints.exists()
    assert (runs.folder / "run" / "metrics.jsonl").read_bytes() == metrics


def test_once_they_are_back_the_run_goes_on(runs):
    outcome = runs.run("run", LONGER, known_step=4)
    assert (outcome.exit_code, outcome.step, outcome.start_step) == (ExitCode.DONE, 6, 4)
    assert len(runs.losses("run")) == 6


def test_a_run_without_any_known_begins(runs):
    (runs.folder / "run" / "checkpoints").rename(runs.folder / "aside")
    assert runs.run("run").start_step == 0


def test_a_newest_one_that_is_corrupt_is_announced_and_the_one_before_it_taken(runs, caplog):
    assert runs.run("run", LONGER, "checkpoint.keep=[{every: 4}]", known_step=4).step == 6
    newest = runs.folder / "run" / "checkpoints" / "step-00000006"
    (newest / "manifest.json").write_bytes(b"{}")

    outcome = runs.run("run", "trainer.numTrainSteps=8", known_step=6)

    assert (outcome.exit_code, outcome.start_step) == (ExitCode.DONE, 4)
    assert "step-00000006 is corrupt" in caplog.text
    assert len(runs.losses("run")) == 8


def test_a_newest_one_that_was_taken_away_is_announced_and_the_one_before_it_taken(runs, caplog):
    assert runs.run("run", LONGER, "checkpoint.keep=[{every: 4}]", known_step=4).step == 6
    shutil.rmtree(runs.folder / "run" / "checkpoints" / "step-00000006")

    assert runs.run("run", LONGER, known_step=6).start_step == 4

    assert "The last checkpoint that is known is of step 6" in caplog.text
    assert len(runs.losses("run")) == 6


def test_a_relative_path_is_below_the_runs_folder(runs, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    outcome = runs.run("run", LONGER, "checkpoint.path=./checkpoints", known_step=4)
    assert (outcome.exit_code, outcome.start_step) == (ExitCode.DONE, 4)


def test_the_last_loss_is_known_where_no_step_is_left_to_train(runs):
    before = runs.summary("run")
    (runs.folder / "run" / "summary.json").unlink()

    outcome = runs.run("run", known_step=2)

    assert (outcome.exit_code, outcome.start_step, outcome.step) == (ExitCode.DONE, 4, 4)
    assert runs.summary("run")["loss"] == before["loss"] == runs.losses("run")[-1]


def test_damaged_ones_that_lie_aside_are_in_the_metrics(runs, monkeypatch):
    for name in ("step-00000003.corrupt", "step-00000002.corrupt", "step-00000002.incomplete"):
        (runs.folder / "run" / "checkpoints" / name).mkdir()
    counts: list[int] = []
    monkeypatch.setattr(PrometheusTracker, "damaged_checkpoints", lambda _, count: counts.append(count))
    assert runs.run("run", LONGER, known_step=4).exit_code is ExitCode.DONE
    assert counts == [2]
