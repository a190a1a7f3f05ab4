"""Streams that are closed, full or without a reader, and names that are not UTF-8: no traceback reaches the user."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lateen_api.escaping import escaped
from lateen_api.files import replace_text
from lateen_api.termination import ExitCode, TerminationMessage

JOB = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: nano}
spec:
  data: {trainUrls: [a.txt], tokenizer: bytes}
"""

CLOSED = "lateen: standard output is closed: nothing can be written to it.\n"
FULL = "lateen: standard output cannot be written to: the disk is full. Make room, or name a place elsewhere.\n"


def lateen(folder: Path, script: str, *arguments: str | bytes) -> tuple[int, str]:
    """(exit code, stderr) of `sh -c script`, in which `"$@"` is `lateen` with these arguments."""
    (folder / "job.yaml").write_text(JOB)
    # Makes it a folder of checkpoints, with something to list.
    (folder / "step-00000010.incomplete").mkdir(exist_ok=True)
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "lateen_api.cli", *arguments]
    done = subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "job.yaml"],
        ["plan", "job.yaml", "-o", "json"],
        ["plan", "job.yaml", "-o", "yaml"],
        ["run", "job.yaml", "--dry-run"],
        ["crd"],
        ["crd", "--reference"],
        ["checkpoints", "."],
        ["checkpoints", ".", "-o", "json"],
        ["train", "--help"],
        ["status", "--help"],
        ["logs", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_output_that_cannot_be_written_ends_with_one_line(tmp_path: Path, command: list[str]):
    assert lateen(tmp_path, '"$@" >&-', *command) == (1, CLOSED)
    assert lateen(tmp_path, '"$@" >/dev/full', *command) == (1, FULL)


def test_a_reader_who_has_left_is_no_news(tmp_path: Path):
    assert lateen(tmp_path, '"$@" | true; exit ${PIPESTATUS[0]}', "crd") == (1, "")


@pytest.mark.parametrize("script", ['"$@" 2>&-', '"$@" 2>/dev/full', '"$@" <&- >&- 2>&-'])
def test_a_command_whose_error_cannot_be_told_keeps_its_exit_code(tmp_path: Path, script: str):
    assert lateen(tmp_path, script, "plan", "missing.yaml") == (40, "")


def test_a_file_that_is_opened_under_a_closed_stdout_is_not_printed_into(tmp_path: Path):
    """Without a descriptor 1 the job's file would become it."""
    lateen(tmp_path, '"$@" >&-', "plan", "job.yaml")
    assert (tmp_path / "job.yaml").read_text() == JOB


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (
            ["plan", b"\xff.yaml"],
            40,
            "\\xff.yaml: no such file: expected the YAML file of a job. Did you mean job.yaml?\n",
        ),
        (
            ["run", "job.yaml", "--run-dir", b"r/\xff"],
            40,
            "error: {folder}/r/\\xff: the name of the run's folder is not UTF-8, and checkpoints cannot be written "
            "there: choose another folder with --run-dir.\n",
        ),
        (
            ["checkpoints", b"\xff"],
            40,
            "Error: spec.checkpoint.path is '{folder}/\\xff': the name is not UTF-8. Rename the folder, or name a "
            "folder elsewhere.\n",
        ),
        (
            ["plan", "job.yaml", "--set", b"metadata.name=\xff"],
            40,
            "override 'metadata.name=\\xff': line 1 holds the character #xdcff, which YAML does not allow. Remove "
            "it.\n",
        ),
    ],
)
def test_names_that_are_not_utf_8_are_shown_escaped(
    tmp_path: Path, command: list[str | bytes], code: int, message: str
):
    assert lateen(tmp_path, '"$@"', *command) == (code, message.replace("{folder}", str(tmp_path)))


def test_an_error_without_words_is_one_line(tmp_path: Path):
    """Its place is named, and its traceback to be had."""
    script = "import sys; from lateen_api import output\ndef f(): [][1]\noutput.prepare(); output.run_guarded(f)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "lateen: unexpected error: IndexError: list index out of range (<string>, line 2). Set LATEEN_TRACEBACK=1 to "
        "see where it comes from, and report it.\n",
    )
    environ = {**os.environ, "LATEEN_TRACEBACK": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environ)
    assert done.stderr.startswith("Traceback")


def test_a_name_that_is_not_utf_8_stays_itself_in_json(tmp_path: Path):
    name = os.fsdecode(b"a\xff\xc3\xa4")
    replace_text(tmp_path / "a.json", json.dumps({"file": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_bytes().decode("utf-8")) == {"file": name}


def test_an_outcome_names_such_a_file():
    text = TerminationMessage(ExitCode.BAD_DATA, os.fsdecode(b"d/\xff.jsonl") + " is cut off").to_json()
    assert TerminationMessage.from_json(text.encode().decode()).message == "d/\\xff.jsonl is cut off"


@pytest.mark.parametrize(("text", "shown"), [("a\udcffb", "a\\xffb"), ("\ud800ä", "?ä"), ("größer", "größer")])
def test_what_cannot_be_encoded_is_escaped(text: str, shown: str):
    assert escaped(text) == shown
