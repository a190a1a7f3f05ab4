"""A real Prometheus that scrapes two processes which train, and an operator's metrics."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.local.ports import free_ports
from monitoring.operator_metrics import serving
from monitoring.prometheus import Prometheus, program, prometheus, static

CHARTS = Path(__file__).parents[2] / "charts" / "lateen"
DASHBOARDS = sorted((CHARTS / "dashboards").glob("*.json"))
NAMESPACE, NAME = "team", "small"
STEPS = 12

JOB = f"""
apiVersion: lateen.dev/v1alpha1
kind: LMTrainingJob
metadata: {{name: {NAME}, namespace: {NAMESPACE}}}
spec:
  model: {{hiddenDim: 16, numHeads: 2, numLayers: 1, seqLen: 32}}
  data:
    tokenizer: bytes
    trainUrls: ["python-stdlib://json/*.py"]
    validationUrls: ["python-stdlib://asyncio/base_*.py"]
  optimizer: {{learningRate: 3e-3, warmup: 5}}
  trainer: {{numTrainSteps: 1000000, trainBatchSize: 8, stepsPerEval: 10, maxEvalBatches: 1}}
  checkpoint: {{saveInterval: 2s}}
  compute: {{accelerator: cpu, devicesPerHost: 1}}
"""


_LATELY_SECONDS = 20.0


@dataclass
class Scraped:
    """What was scraped from `start` to `end`, in seconds since the epoch."""

    server: Prometheus
    start: float
    end: float

    def series(self, expr: str, step: float = 0.5) -> list[dict[str, Any]]:
        """The series of a query, with the variables set as a reader would; a value each `step` seconds."""
        return self.server.query_range(self._with_values(expr), self.start, self.end, step)

    def last(self, expr: str) -> list[dict[str, Any]]:
        """The series of a query towards the end, each with its last value: a scrape may have been missed."""
        found = self.server.query_range(self._with_values(expr), self.end - _LATELY_SECONDS, self.end, 1)
        return [{"metric": one["metric"], "value": one["values"][-1]} for one in found]

    def _with_values(self, expr: str) -> str:
        whole = f"{max(1, round(self.end - self.start))}s"
        for variable, value in (
            ("$__rate_interval", "5s"), ("$__range", whole), ("$namespace", NAMESPACE), ("$training_job", NAME),
        ):  # fmt: skip
            expr = expr.replace(variable, value)
        return expr


@dataclass(frozen=True)
class Exporters:
    """Local ports of the metrics of an operator, and of the two processes of a run."""

    operator: int
    trainers: Sequence[int]
    run: subprocess.Popen[bytes]
    log: Path

    def scrape_configs(self) -> list[dict[str, Any]]:
        """With no labels but Prometheus' own."""
        trainers = [f"127.0.0.1:{port}" for port in self.trainers]
        return [static("lateen-trainer", *trainers), static("lateen-operator", f"127.0.0.1:{self.operator}")]


@contextlib.contextmanager
def exporters(folder: Path) -> Iterator[Exporters]:
    """A run of two processes, and an operator's metrics.

    Args:
        folder: of the run, empty.
    """
    program("prometheus")
    (folder / "job.yaml").write_text(JOB)
    [operator] = free_ports(1, random.Random())
    with (folder / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "lateen_api.cli", "run", "job.yaml", "--hosts", "2"],
            cwd=folder, stdout=log, stderr=log, env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )  # fmt: skip
        try:
            trainers = _metrics_ports(run)
            with serving(operator, Key(NAMESPACE, NAME)):
                yield Exporters(operator, trainers, run, folder / "log")
        finally:
            run.send_signal(signal.SIGTERM)
            run.wait(timeout=60)


@contextlib.contextmanager
def scraped(
    folder: Path, exporters: Exporters, configurations: Mapping[str, Sequence[dict[str, Any]]], seconds: float,
    *, interval: str = "200ms",
) -> Iterator[dict[str, Scraped]]:  # fmt: skip
    """What Prometheuses scraped of a run, each with scrape configurations of its own, in so many seconds of training.

    Args:
        folder: for their data.
        configurations: scrape configurations by name.
        interval: between two scrapes, where they do not say; and between two evaluations.
    """
    ports = free_ports(len(configurations), random.Random())
    rules = CHARTS / "alerts" / "lateen.yaml"
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(prometheus(folder / name, port, configs, rules=rules, interval=interval))
            for (name, configs), port in zip(configurations.items(), ports, strict=True)
        }
        start = time.time()
        _wait_for_step(next(iter(servers.values())), exporters.run, exporters.log)
        time.sleep(seconds)
        yield {name: Scraped(server, start, time.time()) for name, server in servers.items()}


@contextlib.contextmanager
def scraped_run(folder: Path, seconds: float, *, interval: str = "200ms") -> Iterator[Scraped]:
    """A run of two processes, seen for so many seconds of training.

    Args:
        folder: of the run, empty.
        interval: between two scrapes.
    """
    with (
        exporters(folder) as found,
        scraped(folder, found, {"prometheus": found.scrape_configs()}, seconds, interval=interval) as servers,
    ):
        yield servers["prometheus"]


def _metrics_ports(run: subprocess.Popen[bytes], *, seconds: float = 120) -> list[int]:
    """Ports of both trainers' metrics, from their environment."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and run.poll() is None:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        environs = [Path(f"/proc/{child}/environ") for child in children]
        found = [
            int(match[1])
            for path in environs
            if path.exists() and (match := re.search(r"LATEEN_METRICS_PORT=(\d+)", path.read_text()))
        ]
        if len(found) == 2:
            return found
        time.sleep(0.1)
    pytest.fail(f"lateen run did not start two trainers within {seconds} s")


def _wait_for_step(server: Prometheus, run: subprocess.Popen[bytes], log: Path, *, seconds: float = 280) -> None:
    deadline = time.monotonic() + seconds
    while not server.query(f"min(lateen_trainer_step) >= {STEPS}"):
        assert run.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"step {STEPS} did not come within {seconds} s: {log.read_text()}"
        time.sleep(0.5)
