"""Alert rules that fire because of a fault that is injected into a real process, scraped by a real Prometheus.

All windows, thresholds in seconds and `for:` are divided (`short_rules`), and else the rules are those of the chart.
All faults come at once: each alert must fire of the job that it is about. LateenStraggler, which needs a job of several
processes and a slow network, has a test of its own: test_straggler_by_fault.py.
"""

import json
import random
import shutil
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lateen_operator.local.ports import free_ports
from monitoring.faulty_world import FaultyWorld, faulty_world
from monitoring.prometheus import Prometheus, program, prometheus, static
from monitoring.scraped_run import CHARTS
from monitoring.short_rules import shortened
from poisoned import poisoned_text

SEQ_LEN, BATCH = 16, 16
EPOCH, POISONED = 800, (100, 250, 400, 550, 700)
"""In batches."""


@dataclass
class Fired:
    """Alerts that fired: jobs, or None, by the alert's name."""

    before: dict[str, set[str | None]]
    """While all was well."""

    after: dict[str, set[str | None]]
    """Because of the faults."""


EXPECTED: dict[str, str | None] = {
    "LateenJobStuck": "hangs",
    "LateenJobPending": "refused",
    "LateenJobQueueNotServed": "unserved",
    "LateenJobQueuedLong": "waits",
    "LateenJobCrashLooping": "crashes",
    "LateenCheckpointTooOld": "hangs",
    "LateenCheckpointMissing": "trains",
    "LateenCheckpointDamaged": "damaged",
    "LateenLossNotFinite": "trains",
    "LateenGoodputLow": "hangs",
    "LateenOperatorStale": None,
    "LateenOperatorWorkerStuck": None,
    "LateenOperatorErrors": None,
    "LateenOperatorDown": None,
}
"""The job of which each alert fires; None: it is about the operator."""

TRAINED: dict[str, dict[str, Any]] = {
    "hangs": {"saveInterval": "2s", "keep": [{"every": 50}]},
    "trains": {"saveInterval": "1h"},
}
"""Fields of `checkpoint` of jobs that train until a fault."""

ADDRESSES = {"hangs": "127.0.0.2", "trains": "127.0.0.3", "damaged": "127.0.0.4", "crashes": "127.0.0.5"}
CRASHES = 4
FAILING = [f"failing-{number}" for number in range(40)]
SECONDS_BETWEEN_FAILING = 0.25
"""The operator tries each again after ten seconds: in every second some fail."""


def spec(folder: Path, name: str, **checkpoint: Any) -> dict[str, Any]:
    return {
        "model": {"hiddenDim": 16, "numHeads": 2, "numLayers": 1, "seqLen": SEQ_LEN},
        "data": {"tokenizer": "bytes", "trainUrls": [str(folder / "text.txt")], "cacheDir": str(folder / "cache")},
        "optimizer": {"learningRate": 0.003, "warmup": 5},
        "trainer": {"numTrainSteps": 1_000_000, "trainBatchSize": BATCH},
        "checkpoint": {"path": str(folder / name / "checkpoints"), **checkpoint},
        "recovery": {"onNaN": "skip"},
        "compute": {
            "accelerator": "cpu",
            "devicesPerHost": 1,
            "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
            "volumeMounts": [{"name": "shared", "mountPath": str(folder)}],
        },
    }


@pytest.fixture(scope="module")
def fired(tmp_path_factory) -> Fired:
    """Up to a minute of faults."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("faults")
    rules = folder / "rules.yaml"
    rules.write_text(shortened((CHARTS / "alerts" / "lateen.yaml").read_text()))
    poisoned_text(
        folder / "text.txt", folder / "cache", POISONED, sequences=EPOCH * BATCH, seq_len=SEQ_LEN, batch_size=BATCH
    )
    [port] = free_ports(1, random.Random())
    with faulty_world(folder) as world:
        scrape_configs = [
            static("lateen-operator", f"127.0.0.1:{world.operator_port}"),
            static("lateen-trainer", *(f"{address}:{world.trainer_port}" for address in ADDRESSES.values())),
        ]
        start(world)
        with prometheus(folder / "prometheus", port, scrape_configs, rules=rules, interval="300ms") as server:
            apply(world)
            time.sleep(3)
            before = firing(server)
            inject(world)
            rest = EXPECTED.keys() - {"LateenOperatorDown"}
            wait_for(server, rest)
            world.processes["operator"].kill()
            wait_for(server, EXPECTED.keys())
            return Fired(before, firing(server))


def start(world: FaultyWorld) -> None:
    """The operator serves its metrics, and two trainers train."""
    world.start_operator()
    for name, checkpoint in TRAINED.items():
        world.start_trainer(name, ADDRESSES[name], spec(world.folder, name, **checkpoint))
    world.wait(lambda: world.page("127.0.0.1", world.operator_port, "metrics"), "the operator")
    for name in TRAINED:
        world.wait(lambda name=name: world.trains(ADDRESSES[name]), f"a step of {name}")


def apply(world: FaultyWorld) -> None:
    """The operator takes the trainers for its pods, and knows that they train."""
    for name in TRAINED:
        world.apply(name, json.loads((world.folder / name / "job.json").read_text())["spec"])
    for name in TRAINED:
        world.run_pod(name, ADDRESSES[name])
    for name in TRAINED:
        world.wait(lambda name=name: world.state(name) == "Training", f"the state Training of {name}")


def inject(world: FaultyWorld) -> None:
    """All faults at once, but for losses that are not finite: the text has them in it."""
    world.pause("hangs")
    # Its checkpoints; of the newest one, a byte of the manifest is lost.
    checkpoints = world.folder / "damaged" / "checkpoints"
    for saved in (world.folder / "hangs" / "checkpoints").glob("step-*"):
        shutil.copytree(saved, checkpoints / saved.name)
    newest = max(checkpoints.glob("step-*/manifest.json"))
    newest.write_bytes(newest.read_bytes()[:-1])
    world.start_trainer("damaged", ADDRESSES["damaged"], spec(world.folder, "damaged", saveInterval="1h"))
    world.server.forbidden = {"refused"}
    world.server.failing = set(FAILING)
    world.server.unanswered = {"unanswered"}
    queued = spec(world.folder, "unserved", saveInterval="1h")
    queued["compute"]["queue"] = "research"
    world.apply("unserved", queued)
    for name in ("waits", "crashes", "refused", "unanswered", *FAILING):
        world.apply(name, spec(world.folder, name, saveInterval="1h"))
        time.sleep(SECONDS_BETWEEN_FAILING)
    world.pend_pod("waits")
    for number in range(1, CRASHES + 1):
        crash(world, "crashes", number)
    # What is applied from here on is not heard of.
    world.bookmarks = False


def crash(world: FaultyWorld, name: str, attempt: int) -> None:
    """An attempt of a job whose trainer is killed when it has hardly begun."""
    address = ADDRESSES[name]
    world.start_trainer(name, address, spec(world.folder, name, saveInterval="1h"))
    world.run_pod(name, address, attempt=attempt)
    world.end_pod(name, world.crash(name), attempt=attempt)


def wait_for(server: Prometheus, alerts: Set[str], seconds: float = 60) -> None:
    """Returns when all of them fired, or the time is over: then a test says which did not."""
    deadline = time.monotonic() + seconds
    while not alerts <= firing(server).keys() and time.monotonic() < deadline:
        time.sleep(0.2)


def firing(server: Prometheus) -> dict[str, set[str | None]]:
    """Alerts that fire or did."""
    found: dict[str, set[str | None]] = {}
    for one in server.query('count_over_time(ALERTS{alertstate="firing"}[1h])'):
        found.setdefault(one["metric"]["alertname"], set()).add(one["metric"].get("training_job"))
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("alert", EXPECTED)
def test_the_alert_fires_because_of_the_fault(fired, alert):
    """A minute for all of them: that a fault moves the metric which the rule reads, as the rule expects."""
    assert EXPECTED[alert] in fired.after.get(alert, set()), fired.after


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_none_of_these_fires_before_the_faults(fired):
    """Of the others, a busy machine may be the fault: a second without a step counts as ten minutes."""
    busy = {"LateenJobStuck", "LateenGoodputLow", "LateenLossNotFinite", "LateenOperatorDown"}
    assert fired.before.keys() & EXPECTED.keys() <= busy


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_job_that_trains_is_not_blamed_for_others(fired):
    blamed = {alert for alert, jobs in fired.after.items() if "trains" in jobs}
    assert blamed <= {"LateenLossNotFinite", "LateenGoodputLow", "LateenCheckpointMissing"}


def test_each_rule_has_a_fault():
    rules = yaml.safe_load((CHARTS / "alerts" / "lateen.yaml").read_text())
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert names == EXPECTED.keys() | {"LateenStraggler"}
