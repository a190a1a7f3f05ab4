"""Whole runs by the command line, on small jobs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

JOB = """
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {name: small}
spec:
  model: {hiddenDim: 32, numHeads: 2, numLayers: 2, seqLen: 64}
  data:
    tokenizer: bytes
    trainUrls: ["python-stdlib://json/*.py", "python-stdlib://email/*.py"]
    validationUrls: ["python-stdlib://asyncio/base_*.py"]
  optimizer: {learningRate: 3e-3, warmup: 5}
  trainer: {numTrainSteps: 60, trainBatchSize: 8, stepsPerEval: 30, maxEvalBatches: 4}
  checkpoint: {saveInterval: 1h, keep: [{every: 10}]}
  compute: {accelerator: cpu, devicesPerHost: 2}
  recovery: {heartbeatTimeout: 10s}
"""


@dataclass
class LateenRun:
    """A `lateen run` that is at work, or has ended."""

    folder: Path
    process: subprocess.Popen[str]

    def trainers(self) -> dict[int, int]:
        """Pids of the trainer processes by the number of their host."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                environ = dict(
                    entry.split("=", 1) for entry in (folder / "environ").read_text().split("\0") if "=" in entry
                )
            except (OSError, ValueError):
                continue
            if parent == self.process.pid and "LATEEN_HOST_INDEX" in environ:
                found[int(environ["LATEEN_HOST_INDEX"])] = int(folder.name)
        return found

    def steps(self) -> dict[int, float]:
        """Losses by step; a step that stands twice is an error."""
        losses: dict[int, float] = {}
        for line in self.lines():
            if "loss" in line:
                assert line["step"] not in losses, f"step {line['step']} stands twice"
                losses[line["step"]] = line["loss"]
        return losses

    def lines(self) -> list[dict]:
        """The objects of metrics.jsonl; a line that is being written is left out."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        text = path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def result(self) -> dict:
        """What result.json says."""
        return json.loads((self.folder / "result.json").read_text())

    def wait_for_step(self, step: int, *, seconds: float = 120) -> None:
        """Returns when that many steps have been trained."""
        deadline = time.monotonic() + seconds
        while max(self.steps(), default=-1) < step - 1:
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, f"step {step} did not come within {seconds} s: {self.steps()}"
            time.sleep(0.02)

    def finish(self, *, seconds: float = 240) -> int:
        """Waits for the end; the exit code."""
        try:
            self.output, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"lateen run did not end within {seconds} s:\n{self.process.communicate()[0]}")
        return self.process.returncode


@pytest.fixture
def lateen_run(tmp_path, request) -> Callable[..., LateenRun]:
    """Starts `lateen run` in a folder of the test's own; what is still running at the end is ended."""
    runs: list[LateenRun] = []

    def start(*arguments: str, job: str | Path = JOB, name: str = "small") -> LateenRun:
        path = job if isinstance(job, Path) else tmp_path / "job.yaml"
        if not isinstance(job, Path):
            path.write_text(job)
        process = subprocess.Popen(
            [sys.executable, "-m", "lateen_api.cli", "run", str(path), *arguments],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )  # fmt: skip
        folder = tmp_path / "runs" / name
        if "--run-dir" in arguments:
            folder = tmp_path / arguments[arguments.index("--run-dir") + 1]
        runs.append(LateenRun(folder, process))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
            try:
                run.process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                run.process.kill()
                run.process.communicate()
