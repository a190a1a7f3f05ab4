"""The run's folder: files that are never half written, and one owner at a time."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from lateen_api.errors import JobError
from lateen_operator.attempts import Attempt
from lateen_operator.local import ledger
from lateen_operator.local.folder import RunFolder, move_aside, read_json, write_json
from lateen_operator.process_exit import FailureClass, ProcessExit
from lateen_operator.verdict import classify


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    return folder


class TestJson:
    def test_is_read_as_it_was_written(self, folder):
        write_json(folder.result, {"name": "größer", "loss": 2.5})
        assert read_json(folder.result) == {"name": "größer", "loss": 2.5}

    def test_is_replaced_as_a_whole(self, folder):
        write_json(folder.result, {"old": 1})
        with pytest.raises(TypeError):
            write_json(folder.result, {"new": object()})
        assert read_json(folder.result) == {"old": 1}
        assert sorted(path.name for path in folder.path.iterdir()) == ["logs", "result.json"]

    def test_of_no_file_is_none(self, folder):
        assert read_json(folder.result) is None

    @pytest.mark.parametrize("text", ["{", "[1]", ""])
    def test_that_is_none_is_named(self, folder, text):
        folder.result.write_text(text)
        with pytest.raises(JobError, match=r"result\.json: .*mend or remove the file"):
            read_json(folder.result)


class TestLock:
    def test_names_its_holder(self, folder):
        refusal = rf"process {os.getpid()}\) is training in this folder"
        with folder.lock(), pytest.raises(JobError, match=refusal), folder.lock(patience=0.0):
            pass

    def test_is_free_after_use(self, folder):
        for _ in range(2):
            with folder.lock(patience=0.0):
                pass

    def test_is_held_by_leftovers_of_a_dead_holder(self, folder):
        """A child that inherits the lock holds it after its parent is gone."""
        holder = f"""
import subprocess, sys
from pathlib import Path
from lateen_operator.local.folder import RunFolder
with RunFolder(Path({str(folder.path)!r})).lock() as lock:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, pass_fds=(lock,), stdout=subprocess.DEVNULL)
"""
        with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE) as process:
            deadline = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            refusal = "trainer processes of a `lateen run` that was killed still work"
            with pytest.raises(JobError, match=refusal), folder.lock(patience=0.1):
                pass
            assert process.stdin is not None
            process.stdin.close()  # the child ends
            with folder.lock(patience=10.0):
                pass


def test_a_folder_is_moved_to_the_first_free_name(tmp_path):
    for number in (1, 2):
        (tmp_path / "run").mkdir()
        assert move_aside(tmp_path / "run") == tmp_path / f"run-old-{number}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-old-1", "run-old-2"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JobError) as raised:
        RunFolder(tmp_path / "file" / "run").create()
    assert str(raised.value) == (
        f"{tmp_path}/file/run: the run's folder cannot be made: a part of it is a file: expected a folder. "
        "Correct the path, or choose another folder with --run-dir."
    )


class TestLedger:
    def attempt(self, code: int) -> Attempt:
        verdict = classify([ProcessExit(1, code, at=15.0)])
        return Attempt(
            number=3,
            hosts=2,
            started_at=10.0,
            ended_at=15.5,
            verdict=verdict,
            first_step=100,
            step=120,
            checkpoint_step=110,
            checkpoint="checkpoints/step-00000110",
        )

    def test_entries_say_all_that_is_known(self):
        assert ledger.entries([self.attempt(-9)])[0] == {
            "number": 3,
            "hosts": 2,
            "started": "1970-01-01T00:00:10.000Z",
            "ended": "1970-01-01T00:00:15.500Z",
            "failureClass": "Infrastructure",
            "reason": "SIGKILL",
            "exitCode": 137,
            "process": 1,
            "message": "process 1 was killed by SIGKILL",
            "firstStep": 100,
            "step": 120,
            "loss": None,
            "checkpointStep": 110,
            "checkpoint": "checkpoints/step-00000110",
            "queue": None,
            "admitted": None,
            "processStarted": None,
            "lastPhase": None,
            "phaseSeconds": None,
            "dataWaitSeconds": None,
            "stepsLost": 10,
        }

    def test_a_done_attempt_lost_no_steps(self):
        assert ledger.entries([self.attempt(0)])[0]["stepsLost"] is None

    def test_steps_lost_are_those_after_what_the_next_attempt_restored(self):
        unknown = Attempt(4, 2, 16.0, verdict=classify([ProcessExit(0, 1, at=17.0)]))
        for restored, lost in ((120, 0), (115, 5), (90, 30)):
            ledgers = [self.attempt(-9), unknown, replace(self.attempt(0), number=5, first_step=restored)]
            assert [entry["stepsLost"] for entry in ledger.entries(ledgers)] == [lost, 0, None]

    def test_is_read_as_it_was_written(self, folder):
        written = [self.attempt(-9), self.attempt(0)]
        ledger.write(folder, written)
        assert ledger.read(folder) == written

    def test_of_a_version_before_0_2_is_read(self, folder):
        entry = {
            "number": 3,
            "hosts": 2,
            "outcome": "Infrastructure",
            "exitCode": 137,
            "cause": "process 1 was killed by SIGKILL",
            "reason": "SIGKILL",
            "process": 1,
            "firstStep": 100,
            "step": 120,
            "checkpointStep": 110,
            "checkpoint": "checkpoints/step-00000110",
            "stepsLost": 10,
            "startedAt": 10.0,
            "seconds": 5.5,
        }
        runs = entry | {"number": 4, "outcome": "Running", "exitCode": None, "cause": None, "seconds": None}
        folder.attempts.write_text(json.dumps({"attempts": [entry, runs]}))
        ended, killed = ledger.read(folder)
        assert ended == self.attempt(-9)
        assert killed.verdict is not None and killed.verdict.message == "`lateen run` was killed"

    def test_an_attempt_without_an_end_was_cut_off(self, folder):
        ledger.write(folder, [Attempt(1, 2, 10.0)])
        [attempt] = ledger.read(folder)
        assert attempt.verdict is not None
        assert (attempt.verdict.failure_class, attempt.verdict.message) == (
            FailureClass.INFRASTRUCTURE,
            "`lateen run` was killed",
        )

    def test_of_a_new_folder_is_empty(self, folder):
        assert ledger.read(folder) == []

    def test_that_is_no_ledger_is_named(self, folder):
        folder.attempts.write_text(json.dumps({"attempts": [{"number": 1}]}))
        with pytest.raises(JobError, match=r"attempts\.json: not a ledger of attempts"):
            ledger.read(folder)
