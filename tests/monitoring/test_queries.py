"""Each query of each dashboard, asked of a real Prometheus that scrapes two processes which train."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.local.ports import free_ports
from monitoring.operator_metrics import serving
from monitoring.prometheus import Prometheus, program, prometheus

CHARTS = Path(__file__).parents[2] / "charts" / "lateen"
DASHBOARDS = sorted((CHARTS / "dashboards").glob("*.json"))
NAMESPACE, NAME = "team", "small"
STEPS, SECONDS_SCRAPED = 12, 10

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

NO_DATA = {
    ("job.json", "MFU"): "the peak of a CPU is not known",
    ("job.json", "Memory of devices"): "JAX tells nothing of a CPU's memory",
    ("fleet.json", "Alerts that fire"): "a healthy run has none",
    ("fleet.json", "Operator started"): "it did not start again",
}
"""Panels and annotations whose queries return nothing here, and why. A query that starts to return data is an error."""


@dataclass
class Scraped:
    """What was scraped from `start` to `end`, in seconds since the epoch."""

    server: Prometheus
    start: float
    end: float

    def has_data(self, expr: str) -> bool:
        """Does the query, with the variables set as a reader would, give a number at any time?"""
        for variable, value in (
            ("$__rate_interval", "5s"), ("$namespace", NAMESPACE), ("$training_job", NAME),
        ):  # fmt: skip
            expr = expr.replace(variable, value)
        series = self.server.query_range(expr, self.start, self.end, 0.5)
        return any(not math.isnan(float(value)) for one in series for _, value in one["values"])


@pytest.fixture(scope="module")
def scraped(tmp_path_factory) -> Iterator[Scraped]:
    """A run of two processes, seen for ten seconds of training."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("run")
    (folder / "job.yaml").write_text(JOB)
    (folder / "prometheus").mkdir()
    port, operator = free_ports(2, random.Random())
    with (folder / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "lateen_api.cli", "run", "job.yaml", "--hosts", "2"],
            cwd=folder, stdout=log, stderr=log, env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )  # fmt: skip
        try:
            trainers = [f"127.0.0.1:{port}" for port in _metrics_ports(run)]
            targets = {"lateen-trainer": trainers, "lateen-operator": [f"127.0.0.1:{operator}"]}
            rules = CHARTS / "alerts" / "lateen.yaml"
            with (
                serving(operator, Key(NAMESPACE, NAME)),
                prometheus(folder / "prometheus", port, targets, rules=rules) as server,
            ):
                start = time.time()
                _wait_for_step(server, run, folder / "log")
                time.sleep(SECONDS_SCRAPED)
                yield Scraped(server, start, time.time())
        finally:
            run.send_signal(signal.SIGTERM)
            run.wait(timeout=60)


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


def queries() -> Iterator[tuple[str, str, str]]:
    """File, title and query of all panels and annotations."""
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield path.name, panel["title"], target["expr"]
        for annotation in dashboard["annotations"]["list"]:
            yield path.name, annotation["name"], annotation["expr"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_query_returns_data(scraped):
    """A minute: that no panel is empty because of a name, a label or a join that Prometheus sees otherwise."""
    empty = {(file, title, expr) for file, title, expr in queries() if not scraped.has_data(expr)}
    unexpected = {one for one in empty if one[:2] not in NO_DATA}
    assert not unexpected, "\n".join(map(str, sorted(unexpected)))
    assert {one[:2] for one in empty} == set(NO_DATA)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_variable_offers_the_job(scraped):
    """What Grafana fills the choices with."""
    offered = {}
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
                assert match, variable
                series = scraped.server.query(match[1].replace("$namespace", NAMESPACE))
                offered[path.name, variable["name"]] = {one["metric"][match[2]] for one in series}
    assert offered == {
        ("fleet.json", "namespace"): {NAMESPACE},
        ("job.json", "namespace"): {NAMESPACE},
        ("job.json", "training_job"): {NAME, "waits"},
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_alert_is_pending_but_for_the_job_that_waits(scraped):
    """Rules are evaluated on what was scraped, and a healthy run is healthy."""
    assert scraped.server.query('ALERTS{alertstate="firing"}') == []
    pending = {
        (one["metric"]["alertname"], one["metric"].get("training_job")) for one in scraped.server.query("ALERTS")
    }
    assert pending <= {("LateenJobQueuedLong", "waits"), ("LateenStraggler", NAME)}
