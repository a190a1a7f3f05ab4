"""`lateen run` as users meet it: a program with options, output and exit codes. Only the trainer is a fake."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from lateen_operator.local.cli import run
from lateen_operator.local.command import Options, run_command

DRIVE = str(Path(__file__).with_name("drive.py"))

JOB = """\
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: tiny}
spec:
  model: {hiddenDim: 32, numHeads: 2, numLayers: 2, seqLen: 128}
  data: {tokenizer: bytes, trainUrls: [corpus.txt]}
  trainer: {numTrainSteps: 30, trainBatchSize: 8}
  compute: {hosts: 2, env: {FAKE_STEP_SECONDS: "0.01"}}
"""

KILLED_AT_25 = """'{"1.1": {"at": 25, "do": "kill", "signal": 9}}'"""


FAKE_TRAINER = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    returncode: int
    stdout: str
    stderr: str


class Lateen:
    """The program in a folder that holds job.yaml."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]):
        self.folder = folder
        self.run_folder = folder / "runs" / "tiny"
        self._capture = capture
        (folder / "job.yaml").write_text(JOB)

    def arguments(self, options: Sequence[str]) -> list[str]:
        return [sys.executable, DRIVE, "job.yaml", *options]

    def environ(self, more: dict[str, str] | None = None) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        return {**inherited, "COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color", **(more or {})}

    def run(self, *options: str) -> Done:
        """Within this process, without a terminal, to its end."""
        self._capture.readouterr()
        parameters = run.make_context("lateen run", ["job.yaml", *options]).params
        code = run_command(Options(**parameters), trainer=FAKE_TRAINER)
        captured = self._capture.readouterr()
        return Done(code, captured.out, captured.err)

    def start(self, *options: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.arguments(options),
            cwd=self.folder,
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_on_terminal(self, *options: str, **environ: str) -> tuple[int, str]:
        """(exit code, all that was written to the terminal)."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            self.arguments(options),
            cwd=self.folder,
            env=self.environ(environ),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        written = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # Linux says so when the last holder of the other end is gone
                break
            if not chunk:
                break
            written += chunk
        os.close(master)
        return process.wait(timeout=10), written.decode()

    def result(self) -> dict:
        return json.loads((self.run_folder / "result.json").read_text())

    def wait_for_step(self, step: int) -> None:
        """Until the fake trainer has trained so many steps."""
        metrics = self.run_folder / "metrics.jsonl"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if metrics.exists() and metrics.read_text().count("\n") >= step:
                return
            time.sleep(0.02)
        raise AssertionError(f"step {step} was not reached in 20 s")

    def trainers(self) -> list[int]:
        return [int(path.read_text()) for path in self.run_folder.glob("alive-*")]


@pytest.fixture
def lateen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lateen:
    monkeypatch.chdir(tmp_path)
    return Lateen(tmp_path, capsys)


def wait_until_gone(pids: Sequence[int], seconds: float = 3.0) -> list[int]:
    """Those of the processes that are still there after this time."""
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


# Where training begins is seen before its first step.
SLOW_COMPILE = ("--set", "compute.env.FAKE_COMPILE_SECONDS='0.6'")


class TestACompleteRun:
    def test_leaves_its_result(self, lateen):
        done = lateen.run("--set", f"compute.env.FAKE_SCRIPT={KILLED_AT_25}")
        assert done.returncode == 0, done.stderr
        result = lateen.result()
        ledger = result.pop("attempts")
        assert sum(result.pop("time").values()) == pytest.approx(result.pop("seconds"), abs=0.01)
        assert result == {
            "name": "tiny",
            "state": "Complete",
            "exitCode": 0,
            "failureClass": None,
            "reason": None,
            "message": None,
            "step": 30,
            "of": 30,
            "tokens": 30 * 1024,
            "loss": 2.0 + 3.0 / 31,
            "validationLoss": 2.25,
            "skippedBatches": [],
            "skippedDocuments": 0,
            "unigramEntropy": 3.125,
            "sample": "def main():\n\tpass\x1b[2J",
            "samples": [],
            "attemptCount": 2,
            "checkpoint": str(lateen.run_folder / "checkpoints" / "step-30"),
        }
        assert [(entry["number"], entry["hosts"], entry["failureClass"], entry["exitCode"]) for entry in ledger] == [
            (1, 2, "Infrastructure", 137),
            (2, 2, "Done", 0),
        ]
        assert ledger[0]["message"] == "process 1 was killed by SIGKILL"
        assert (ledger[0]["checkpointStep"], ledger[0]["stepsLost"]) == (20, ledger[0]["step"] - 20)

    def test_leaves_the_resolved_job(self, lateen):
        lateen.run("--hosts", "1", "--set", "trainer.seed=3")
        spec = json.loads((lateen.run_folder / "job.json").read_text())["spec"]
        assert spec["data"]["cacheDir"] == str(lateen.run_folder / "cache")
        assert spec["checkpoint"]["path"] == str(lateen.run_folder / "checkpoints")
        assert (spec["trainer"]["seed"], spec["compute"]["hosts"]) == (3, 1)
        assert spec["compute"]["devicesPerHost"] >= 1

    def test_writes_down_no_secret_but_in_a_file_for_the_user_alone(self, lateen):
        url = "http://user:password@127.0.0.1:1/a.txt?sig=5ec4e7"
        script = json.dumps({"1.0": {"at": 3, "do": "exit", "code": 40, "message": f"{url}, line 3, is not JSON."}})
        secret = ["--set", f"data.trainUrls=['{url}']", "--set", "compute.env.API_KEY=5ec4e7"]
        done = lateen.run("--hosts", "1", *secret, "--set", f"compute.env.FAKE_SCRIPT='{script}'")
        assert done.returncode == 40
        assert "warning: spec.compute.env holds API_KEY and FAKE_SCRIPT in the clear" in done.stderr
        assert (
            "(the job cannot run as written): http://***@127.0.0.1:1/a.txt?sig=***, line 3, is not JSON" in done.stderr
        )
        job = lateen.run_folder / "job.json"
        assert job.stat().st_mode & 0o777 == 0o600
        spec = json.loads(job.read_text())["spec"]
        assert (spec["data"]["trainUrls"], spec["compute"]["env"]["API_KEY"]) == ([url], "***")
        assert not any(word in done.stdout + done.stderr.replace(script, "") for word in ("password@", "5ec4e7"))
        for path in (lateen.run_folder / "attempts.json", lateen.run_folder / "result.json"):
            assert not any(word in path.read_text() for word in ("password@", "5ec4e7"))

    @pytest.mark.parametrize("redirected", [">&-", ">/dev/full", ">&- 2>&-"])
    def test_does_not_depend_on_its_output(self, lateen, redirected):
        script = "import sys; from lateen_api import output; import runpy; output.prepare(); sys.argv.pop(0); "
        script += "output.run_guarded(lambda: runpy.run_path(sys.argv[0], run_name='__main__'))"
        command = ["sh", "-c", f'"$@" {redirected}', "sh", sys.executable, "-c", script, *lateen.arguments([])[1:]]
        for _ in range(2):  # the second says that it is complete
            done = subprocess.run(command, cwd=lateen.folder, env=lateen.environ(), timeout=60, check=False)
            assert done.returncode == 0
        assert lateen.result()["state"] == "Complete"

    def test_goes_on_with_a_renewed_signature(self, lateen):
        assert lateen.run("--set", "data.trainUrls=['http://127.0.0.1:1/a.txt?sig=1']").returncode == 0
        again = lateen.run("--set", "data.trainUrls=['http://127.0.0.1:1/a.txt?sig=2']")
        assert (again.returncode, again.stdout.splitlines()[0][:25]) == (0, "tiny is complete already:")

    def test_leaves_a_picture_of_the_losses(self, lateen):
        lateen.run()
        picture = (lateen.run_folder / "loss.svg").read_text()
        assert picture.startswith("<svg ")
        assert "tiny: loss" in picture

    def test_is_not_trained_again(self, lateen):
        lateen.run()
        again = lateen.run()
        assert again.returncode == 0
        assert again.stdout == (
            "tiny is complete already: 30 steps, validation loss 2.2500; see runs/tiny/result.json\n"
            "to train it again: --fresh\n"
        )
        assert len(lateen.result()["attempts"]) == 1

    def test_goes_on_when_more_steps_are_asked_for(self, lateen):
        lateen.run()
        lateen.run("--set", "trainer.numTrainSteps=40", "--hosts", "1", *SLOW_COMPILE)
        result = lateen.result()
        assert (result["step"], [entry["hosts"] for entry in result["attempts"]]) == (40, [2, 1])
        assert result["attempts"][1]["firstStep"] == 30

    def test_is_put_aside_by_fresh(self, lateen):
        lateen.run()
        fresh = lateen.run("--fresh", "--set", "trainer.seed=1")
        assert fresh.returncode == 0
        assert fresh.stdout.startswith("the earlier run is in runs/tiny-old-1 now\n")
        assert (lateen.folder / "runs" / "tiny-old-1" / "result.json").exists()
        assert len(lateen.result()["attempts"]) == 1


def test_the_output_without_a_terminal_is_plain_lines(lateen):
    """Times and steps depend on the machine; everything else is fixed."""
    slow = (*SLOW_COMPILE, "--set", "compute.env.FAKE_STEP_SECONDS='0.05'")
    done = lateen.run("--set", f"compute.env.FAKE_SCRIPT={KILLED_AT_25}", *slow)
    text = re.sub(r"^\[\d+:\d\d\]", "[T]", done.stdout, flags=re.MULTILINE)
    text = re.sub(r"(?<=[^-]step )\d+(?= of)|(?<=SIGKILL at step )\d+", "N", text)
    text = "".join(line for line in text.splitlines(keepends=True) if "tokens/s" not in line)
    assert re.sub(r"in \d+ s", "in S", text) == (
        "[T] tiny on 2 processes × 1 CPU device; folder runs/tiny\n"
        "[T] attempt 1: starting\n"
        "[T] attempt 1: compiling\n"
        "[T] attempt 1: training, step N of 30\n"
        "[T] process 1 was killed by SIGKILL at step N; attempt 2 follows\n"
        "[T] attempt 2: starting\n"
        "[T] attempt 2 starts from the checkpoint of step 20\n"
        "[T] attempt 2: compiling\n"
        "[T] attempt 2: training, step N of 30\n"
        "tiny is trained\n"
        "  trained: 30 steps, 30,720 tokens in S, 2 attempts\n"
        "  train loss: 2.0968 nats per token\n"
        "  validation loss: 2.2500 nats per token\n"
        "  unigram entropy: 3.1250 nats per token (from token frequencies alone)\n"
        "  checkpoint: runs/tiny/checkpoints/step-30\n"
        "  loss curve: runs/tiny/loss.svg\n"
        "  all of it: runs/tiny\n"
        "  sample of what it writes:\n"
        "    def main():\n"
        "     pass·[2J\n"
    )
    assert done.stderr == ""


class TestOnATerminal:
    def test_it_draws_and_leaves_the_results(self, lateen):
        code, written = lateen.run_on_terminal()
        assert code == 0
        assert "\x1b[?25l" in written and written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
        assert "━" in written
        assert " tiny is trained " in written
        # The sample holds an escape sequence that clears the screen.
        assert "\x1b[2J" not in written

    def test_no_color_means_no_colours(self, lateen):
        _, written = lateen.run_on_terminal(NO_COLOR="1")
        assert "tiny is trained" in written
        assert not re.findall(r"\x1b\[[0-9;]*3[0-9]m", written)

    @pytest.mark.parametrize(
        ("options", "environ"), [(["--plain"], {}), (["--no-progress"], {}), ([], {"TERM": "dumb"})]
    )
    def test_plain_means_no_control_characters(self, lateen, options, environ):
        code, written = lateen.run_on_terminal(*options, **environ)
        assert code == 0
        assert "attempt 1: training" in written
        assert "\x1b[?25l" not in written
        assert options == [] or "\x1b" not in written


class TestStopping:
    def test_ctrl_c_saves_and_says_how_to_go_on(self, lateen):
        process = lateen.start("--set", "trainer.numTrainSteps=1000")
        lateen.wait_for_step(12)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (130, "")
        step = lateen.result()["step"]
        assert out.splitlines()[-2:] == [
            f"saved and stopped at step {step}",
            f"to go on from the checkpoint of step {step}:  lateen run job.yaml --set trainer.numTrainSteps=1000",
        ]
        assert lateen.result()["state"] == "Stopped"

    def test_sigterm_does_the_same(self, lateen):
        process = lateen.start("--set", "trainer.numTrainSteps=1000")
        lateen.wait_for_step(3)
        process.terminate()
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 143
        assert "saved and stopped at step " in out

    def test_the_same_command_then_goes_on(self, lateen):
        process = lateen.start("--set", "trainer.numTrainSteps=60")
        lateen.wait_for_step(12)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        stopped_at = lateen.result()["step"]
        done = lateen.run("--set", "trainer.numTrainSteps=60", *SLOW_COMPILE)
        assert done.returncode == 0
        assert f"going on with attempt 2; the last checkpoint known is of step {stopped_at}\n" in done.stdout
        assert f"attempt 2 starts from the checkpoint of step {stopped_at}\n" in done.stdout
        assert lateen.result()["attempts"][1]["firstStep"] == stopped_at


def test_the_trainers_of_a_killed_supervisor_do_not_stay_and_a_new_one_goes_on(lateen):
    process = lateen.start("--set", "trainer.numTrainSteps=60")
    lateen.wait_for_step(15)
    trainers = lateen.trainers()
    process.kill()
    process.communicate(timeout=10)
    assert len(trainers) == 2
    assert wait_until_gone(trainers) == []
    saved = max(int(path.name.removeprefix("step-")) for path in (lateen.run_folder / "checkpoints").iterdir())
    done = lateen.run("--set", "trainer.numTrainSteps=60", *SLOW_COMPILE)
    assert done.returncode == 0, done.stderr
    first, second = lateen.result()["attempts"]
    assert first["message"] == "`lateen run` was killed"
    assert (second["failureClass"], second["firstStep"]) == ("Done", saved)


def test_a_second_lateen_run_on_the_same_folder_is_refused(lateen):
    process = lateen.start("--set", "trainer.numTrainSteps=1000")
    lateen.wait_for_step(1)
    second = lateen.run("--set", "trainer.numTrainSteps=1000")
    fresh = lateen.run("--fresh")
    process.terminate()
    process.communicate(timeout=20)
    for refused in (second, fresh):
        assert refused.returncode == 40
        assert f"another `lateen run` (process {process.pid}) is training in this folder" in refused.stderr
    assert lateen.result()["state"] == "Stopped"


class TestFailure:
    def test_shows_cause_log_and_what_to_do(self, lateen):
        script = """'{"1.0": {"at": 2, "do": "exit", "code": 41, "message": "corpus.txt: not UTF-8"}}'"""
        options = ["--set", f"compute.env.FAKE_SCRIPT={script}", "--set", "recovery.maxFailures=0", "--hosts", "1"]
        failed = lateen.run(*options)
        assert failed.returncode == 41
        lines = failed.stderr.splitlines()
        assert lines[:5] == [
            "training failed",
            "  cause: process 0 ended with exit code 41 (bad data): corpus.txt: not UTF-8",
            "  no further attempt: spec.recovery.maxFailures allows no restart",
            "  attempts: 1; the last one reached step 2",
            "  logs: runs/tiny/logs",
        ]
        assert lines[5].startswith("  what to do: correct the file or folder as the message says; ")
        assert lines[6:] == [
            "  end of runs/tiny/logs/attempt-1-process-0.log:",
            "    attempt 1 process 0",
            "    corpus.txt: not UTF-8",
        ]
        assert (lateen.result()["state"], lateen.result()["exitCode"]) == ("Failed", 41)

    def test_draws_a_new_budget_when_the_command_is_given_again(self, lateen):
        script = """'{"1.0": {"at": 2, "do": "exit", "code": 1}}'"""
        options = ["--set", f"compute.env.FAKE_SCRIPT={script}", "--set", "recovery.maxFailures=0"]
        assert lateen.run(*options).returncode == 1
        assert lateen.run(*options).returncode == 0
        assert [entry["failureClass"] for entry in lateen.result()["attempts"]] == ["User", "Done"]


class TestRefusals:
    """Exit code 40, the reason on stderr, and nothing created."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--set", "trainer.trainBatchSize=7"], "spec.trainer.trainBatchSize: 7 "),
            (["--set", "model.hiddenDim=33"], "spec.model.hiddenDim: 33 "),
            (["--set", "trainer.sed=1"], "spec.trainer.sed"),
            (["--set", "compute.accelerator=tpu-v5p"], "--set spec.compute.accelerator=cpu --hosts 1"),
            (["--run-dir", "job.yaml/run"], "choose another folder with --run-dir"),
        ],
    )
    def test_of_a_job_that_cannot_run(self, lateen, options, message):
        refused = lateen.run(*options)
        assert refused.returncode == 40
        assert message in refused.stderr
        assert refused.stdout == ""
        assert [path.name for path in lateen.folder.iterdir()] == ["job.yaml"]

    def test_of_a_gpu_job_without_a_gpu(self, lateen, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        refused = lateen.run("--set", "compute.accelerator=nvidia-h100-80gb")
        assert refused.returncode == 40
        assert refused.stderr == (
            "error: spec.compute.accelerator: nvidia-h100-80gb: no NVIDIA GPU was found on this machine (nvidia-smi "
            "lists none); to train on this machine's cores instead: --set spec.compute.accelerator=cpu --hosts 1\n"
        )

    def test_of_another_jobs_folder(self, lateen):
        lateen.run()
        refused = lateen.run("--set", "model.hiddenDim=64", "--set", "trainer.seed=5")
        assert refused.returncode == 40
        assert refused.stderr.splitlines()[:3] == [
            "error: runs/tiny: the folder belongs to another job. What differs (there → here):",
            "  spec.model.hiddenDim: 32 → 64",
            "  spec.trainer.seed: 0 → 5",
        ]

    def test_of_a_fresh_start_with_checkpoints_elsewhere(self, lateen):
        elsewhere = lateen.folder / "elsewhere"
        (elsewhere / "step-20").mkdir(parents=True)
        refused = lateen.run("--fresh", "--set", f"checkpoint.path={elsewhere}")
        assert refused.returncode == 40
        assert refused.stderr.startswith(f"error: spec.checkpoint.path: {elsewhere} lies outside the run's folder")

    def test_of_a_run_whose_checkpoints_are_gone_by_the_code_that_names_them(self, lateen):
        assert lateen.run().returncode == 0
        before = (lateen.folder / "runs" / "tiny" / "metrics.jsonl").read_text()
        (lateen.folder / "runs" / "tiny" / "checkpoints").rename(lateen.folder / "aside")
        refused = lateen.run("--set", "trainer.numTrainSteps=50")
        assert refused.returncode == 46
        assert "no checkpoint, expected step 30" in refused.stderr
        assert "put the checkpoints back, or correct spec.checkpoint.path" in refused.stderr
        assert len(lateen.result()["attempts"]) == 2
        assert (lateen.folder / "runs" / "tiny" / "metrics.jsonl").read_text() == before
        found = lateen.run("--set", "trainer.numTrainSteps=50", "--set", f"checkpoint.path={lateen.folder / 'aside'}")
        assert found.returncode == 0
        assert lateen.result()["attempts"][2]["firstStep"] == 30


def test_a_dry_run_shows_the_plan_and_creates_nothing(lateen):
    shown = lateen.run("--dry-run", "--hosts", "1", "--set", "compute.devicesPerHost=2")
    assert shown.returncode == 0
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert lines[0] == "tiny"
    assert lines[-1] == "would run as 1 process × 2 CPU devices in runs/tiny"
    assert re.search(r"^devices +2 \(2 a host\)$", "\n".join(lines), re.MULTILINE)
    assert [path.name for path in lateen.folder.iterdir()] == ["job.yaml"]


def test_more_hosts_than_cores_are_warned_of(lateen):
    hosts = 8 * (1 + len(os.sched_getaffinity(0)) // 8)
    shown = lateen.run("--dry-run", "--hosts", str(hosts), "--set", f"trainer.trainBatchSize={2 * hosts}")
    assert shown.stderr.startswith(f"warning: {hosts} processes share ")


def test_a_closed_pipe_does_not_end_the_training(lateen):
    """`lateen run job.yaml | head -1`"""
    process = lateen.start()
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    assert lateen.result()["state"] == "Complete"


def test_the_command_does_not_import_jax():
    code = "import sys; import lateen_operator.local.command; print('jax' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False False\n"
