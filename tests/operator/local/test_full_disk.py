"""Disks that are full or read-only, and limits of the process: each has its own message, and the run says how it ended.

Mounts are made in a mount namespace of the test's own, which ends with its processes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVE = str(Path(__file__).with_name("drive.py"))

JOB = """\
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: tiny}
spec:
  model: {hiddenDim: 32, numHeads: 2, numLayers: 2, seqLen: 128}
  checkpoint: {path: checkpoints}
  data: {tokenizer: bytes, trainUrls: [corpus.txt]}
  trainer: {numTrainSteps: 30, trainBatchSize: 8}
  compute: {hosts: 1, env: {FAKE_STEP_SECONDS: "0.01", FAKE_SAVE_EVERY: "1000"}}
"""

FILLED_AT_5 = ("--set", """compute.env.FAKE_SCRIPT='{"1.0": {"at": 5, "do": "fill"}}'""")


@pytest.fixture
def in_namespace(tmp_path: Path):
    """Runs a script of `sh` in a mount namespace of its own; `"$@"` is `lateen run job.yaml` with the fake trainer."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("making a mount namespace is not permitted here")
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "runs").mkdir()

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, DRIVE, "job.yaml", *options],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


def test_a_run_that_fills_its_disk_still_says_how_it_ended(in_namespace, tmp_path: Path):
    done = in_namespace(
        'mount -t tmpfs -o size=1m tmpfs runs && "$@"; code=$?; '
        "rm runs/tiny/filler; cp -r runs/tiny copied; exit $code",
        *FILLED_AT_5,
    )
    assert done.returncode == 40, done.stderr
    result = json.loads((tmp_path / "copied" / "result.json").read_text())
    assert (result["state"], result["exitCode"]) == ("Failed", 40)
    assert json.loads((tmp_path / "copied" / "attempts.json").read_text())["attempts"][0]["exitCode"] == 40
    assert not [path.name for path in (tmp_path / "copied").iterdir() if path.name.startswith(".")]
    assert "Traceback" not in done.stderr


FULL_FROM_THE_START = 'mount -t tmpfs -o size=64k tmpfs runs && head -c 100k /dev/zero 2>&- > runs/filler; exec "$@"'


def test_a_disk_that_cannot_hold_the_checkpoints_is_refused(in_namespace):
    done = in_namespace(FULL_FROM_THE_START)
    assert (done.returncode, done.stdout) == (40, "")
    assert done.stderr.startswith("error: spec.checkpoint.path: runs/tiny/checkpoints: the disk has 0 B free, and two ")
    assert done.stderr.endswith("make room, or choose another folder with --run-dir\n")


def test_a_disk_that_cannot_hold_the_run_folder_is_refused(in_namespace, tmp_path: Path):
    done = in_namespace(FULL_FROM_THE_START, "--set", f"checkpoint.path={tmp_path}/elsewhere")
    assert (done.returncode, done.stdout) == (40, "")
    assert done.stderr == (
        f"error: {tmp_path}/runs/tiny/lock: the disk is full: 0 bytes are free. Make room, or choose another folder "
        "with --run-dir.\n"
    )


def test_a_read_only_file_system_is_called_that(in_namespace, tmp_path: Path):
    done = in_namespace('mount -t tmpfs tmpfs runs && mount -o remount,ro runs && exec "$@"')
    assert (done.returncode, done.stderr) == (
        40,
        f"error: {tmp_path}/runs/tiny: the run's folder cannot be made: the file system is mounted read-only. Mount it "
        "for writing, or choose another folder with --run-dir.\n",
    )


def test_too_few_descriptors_are_called_that(in_namespace):
    done = in_namespace('ulimit -n 9; exec "$@"')
    assert done.returncode == 40
    assert "the process may not open more files: its limit is 9. Raise it (`ulimit -n 4096`)." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_limit_of_file_sizes_is_called_that(in_namespace):
    done = in_namespace('ulimit -f 1; exec "$@"')
    assert done.returncode == 40
    assert "the file may not grow: the limit is 512 bytes. Raise it (`ulimit -f`), or choose another" in done.stderr
    assert "Traceback" not in done.stderr
