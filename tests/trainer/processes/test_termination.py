"""The outcome: decided once, written whole."""

from pathlib import Path

import pytest
from lateen_api.termination import ExitCode, TerminationMessage
from lateen_trainer.processes.termination import Termination, summary, write_whole

SAVED = TerminationMessage(ExitCode.SAVED, "SIGTERM arrived.", step=41, checkpoint="gs://runs/a/step-41")


def test_the_outcome_is_the_termination_message(tmp_path: Path):
    path = tmp_path / "termination-log"
    assert Termination(str(path)).decide(SAVED)
    assert TerminationMessage.from_json(path.read_text()) == SAVED
    assert [file.name for file in tmp_path.iterdir()] == ["termination-log"]


def test_the_first_outcome_stands(tmp_path: Path):
    termination = Termination(str(tmp_path / "log"))
    termination.decide(SAVED)
    assert not termination.decide(TerminationMessage(ExitCode.ERROR, "too late"))
    assert termination.outcome == SAVED
    assert TerminationMessage.from_json((tmp_path / "log").read_text()) == SAVED


def test_one_line_says_it_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    Termination(None).decide(SAVED, details="Traceback …\n")
    assert capfd.readouterr().err == "Traceback …\n" + summary(SAVED) + "\n"


def test_the_line_has_code_step_checkpoint_and_message():
    assert summary(SAVED) == (
        "lateen trainer: saved and stopped (exit code 42), at step 41, last checkpoint gs://runs/a/step-41: "
        "SIGTERM arrived."
    )


def test_a_termination_log_that_cannot_be_written_is_said_and_not_fatal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert Termination(str(tmp_path / "missing" / "log")).decide(SAVED)
    assert "The outcome could not be written to" in capfd.readouterr().err


def test_a_folder_in_which_nothing_can_be_made_still_has_its_file_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As for a pod's termination log, which is a mount point: it cannot be replaced."""
    path = tmp_path / "termination-log"
    path.write_text("before")

    def busy(self: Path, target: Path) -> Path:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    write_whole(path, "after")
    assert path.read_text() == "after"
    assert [file.name for file in tmp_path.iterdir()] == ["termination-log"]
