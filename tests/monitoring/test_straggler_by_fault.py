"""One of two processes reads its data over a slow network: process 0's report and the alert name that one.

The token cache lies in an object store, and a proxy on the way of process 1 to it makes every answer slow.
"""

import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster.faulty_proxy import FaultyProxy
from cluster.object_store import object_store
from lateen_api.progress import Progress, SlowestProcess
from lateen_operator.local.ports import free_ports
from lateen_operator.stragglers import is_slow
from monitoring.faulty_world import FaultyWorld, faulty_world
from monitoring.prometheus import Prometheus, program, prometheus, static
from monitoring.scraped_run import CHARTS
from monitoring.short_rules import shortened

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="fake-gcs-server is built from its Go module"),
    pytest.mark.timeout(600),
]

NAME, BUCKET = "straggles", "slow"
ADDRESSES = ["127.0.0.6", "127.0.0.7"]
TEXT_BYTES = 20_000_000
"""So many that each batch needs chunks of the cache that were not read before."""


def spec(folder: Path) -> dict[str, Any]:
    return {
        "model": {"hiddenDim": 16, "numHeads": 2, "numLayers": 1, "seqLen": 16},
        "data": {
            "tokenizer": "bytes", "trainUrls": [str(folder / "text.txt")], "cacheDir": f"gs://{BUCKET}/cache",
        },
        "trainer": {"numTrainSteps": 1_000_000, "trainBatchSize": 16},
        "checkpoint": {"path": str(folder / NAME / "checkpoints"), "saveInterval": "1h"},
        "recovery": {"heartbeatTimeout": "10s"},
        "compute": {
            "accelerator": "cpu",
            "devicesPerHost": 1,
            "hosts": 2,
            "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
            "volumeMounts": [{"name": "shared", "mountPath": str(folder)}],
        },
    }  # fmt: skip


def start(world: FaultyWorld, stores: list[str]) -> None:
    """Both processes train, each with an address of the object store of its own."""
    text = np.random.default_rng(0).choice(np.frombuffer(b"abcdefgh ", np.uint8), TEXT_BYTES)
    (world.folder / "text.txt").write_bytes(text.tobytes())
    [port] = free_ports(1, random.Random())
    for process, (address, store) in enumerate(zip(ADDRESSES, stores, strict=True)):
        environ = {"TENSORSTORE_GCS_HTTP_URL": store, "STORAGE_EMULATOR_HOST": store}
        coordinator = f"127.0.0.1:{port}"
        world.start_trainer(
            NAME, address, spec(world.folder), process=process, coordinator=coordinator, environ=environ
        )
    world.wait(lambda: world.trains(ADDRESSES[0]), "a step", seconds=180)


def slow_process_1(world: FaultyWorld) -> SlowestProcess | None:
    """Process 0's report on process 1, if it is slow by it."""
    page = world.page(ADDRESSES[0], world.trainer_port, "progress")
    report = None if page is None else Progress.model_validate_json(page).slowest_process
    return report if report is not None and report.process == 1 and is_slow(report) else None


def waits_for_data(report: SlowestProcess | None) -> bool:
    """Is waiting for its data most of what it does? The first reports are of steps before it was slow, too."""
    return report is not None and report.data_wait_seconds > 0.8 * report.idle_seconds > 0.4 * report.step_seconds


def alerts(server: Prometheus) -> set[tuple[str, str]]:
    """Jobs and processes of which LateenStraggler fires or did."""
    found = server.query('count_over_time(ALERTS{alertname="LateenStraggler", alertstate="firing"}[1h])')
    return {(one["metric"]["training_job"], one["metric"]["process"]) for one in found}


def test_a_process_with_a_slow_network_is_named_by_report_and_alert(tmp_path):
    program("prometheus")
    rules = tmp_path / "rules.yaml"
    rules.write_text(shortened((CHARTS / "alerts" / "lateen.yaml").read_text()))
    [port] = free_ports(1, random.Random())
    with (
        object_store(BUCKET) as store,
        FaultyProxy(store, faults=["slow"], share=0) as network,
        faulty_world(tmp_path) as world,
    ):
        start(world, [store, network.address])
        targets = [f"{address}:{world.trainer_port}" for address in ADDRESSES]
        scrape = [static("lateen-trainer", *targets)]
        with prometheus(tmp_path / "prometheus", port, scrape, rules=rules, interval="300ms") as server:
            network.share = 1
            world.wait(lambda: waits_for_data(slow_process_1(world)), "a report that process 1 is slow by its data")
            deadline = time.monotonic() + 60
            while not alerts(server) and time.monotonic() < deadline:
                time.sleep(0.2)
            assert alerts(server) == {(NAME, "1")}
            network.share = 0
            world.wait(lambda: slow_process_1(world) is None, "a report that process 1 is slow no longer")
            assert world.trains(ADDRESSES[0])
