"""Training on the cluster with corpus, cache and checkpoints in a bucket, a real server of its interface."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorstore as ts
import yaml
from cluster.object_store import object_store
from cluster.places import HOST_ADDRESS
from cluster.this_machine import OnThisMachine
from e2e_cluster.training import job
from lateen_trainer.checkpoint.manifest import Manifest
from lateen_trainer.data.ledger import LEDGER

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="fake-gcs-server is built from its Go module"),
    pytest.mark.timeout(600),
]

BUCKET = "there"
CORPUS = f"gs://{BUCKET}/texts/*.py"
CHECKPOINTS = {"saveInterval": "1h", "keep": [{"every": 20}]}
STEPS = 60
SAVED = (20, 40, 60)
COPIES = 4
TEXTS = Path(json.__file__).parents[1]


@pytest.fixture(scope="module")
def server(cluster: Any) -> Iterator[str]:
    """Address of an object store that this machine and the pods reach."""
    if not isinstance(cluster, OnThisMachine):
        pytest.skip("the object store listens at an address of the cluster on this machine")
    with object_store(BUCKET, str(HOST_ADDRESS)) as address:
        yield address


@pytest.fixture(scope="module")
def bucket(server: str) -> Iterator[ts.KvStore]:
    """The bucket, with a corpus of Python's own sources below `texts`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", server)
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", server)
        bucket = ts.KvStore.open({"driver": "gcs", "bucket": BUCKET}).result()
        for text in sorted(TEXTS.glob("*.py")):
            # Large enough to be tokenized for some seconds.
            bucket.write(f"texts/{text.name}", text.read_bytes() * COPIES).result()
        yield bucket


@pytest.fixture
def sections(server: str) -> Callable[[str], dict[str, Any]]:
    """Sections of a job whose corpus, cache and checkpoints lie in the bucket, by the name of its run."""

    def of_run(run: str) -> dict[str, Any]:
        host = server.removeprefix("http://")
        environ = {
            "STORAGE_EMULATOR_HOST": server,
            # Else TensorStore and gcsfs wait in vain for Google's metadata server, for minutes.
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
            "NO_GCE_CHECK": "true",
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            "LATEEN_COMPILATION_CACHE": "/programs",
        }
        return {
            "steps": STEPS,
            "data": {"trainUrls": [CORPUS], "cacheDir": f"gs://{BUCKET}/{run}-cache"},
            "checkpoint": {"path": f"gs://{BUCKET}/{run}", **CHECKPOINTS},
            "compute": {"env": environ},
        }

    return of_run


@pytest.fixture(scope="module")
def local_digests(bucket: ts.KvStore, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """Digests of the checkpoints of the same job on this machine, from the same corpus, with a cache of its own."""
    folder = tmp_path_factory.mktemp("local")
    written = job("small", "default", folder, folder, steps=STEPS)
    written["spec"] |= {
        "data": {"tokenizer": "bytes", "trainUrls": [CORPUS]},
        "checkpoint": CHECKPOINTS,
        "compute": {"accelerator": "cpu", "hosts": 2, "devicesPerHost": 1},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(written))
    command = [sys.executable, "-m", "lateen_api.cli", "run", "job.yaml", "--run-dir", "run"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    saved = {step: folder / "run" / "checkpoints" / f"step-{step:08d}" / "manifest.json" for step in SAVED}
    return {step: digests(path.read_bytes()) for step, path in saved.items()}


def digests(manifest: bytes) -> dict[str, Any]:
    """Digests of all arrays of a checkpoint: parameters, optimizer, and where the run is."""
    return {name: entry.digests for name, entry in Manifest.from_bytes(manifest, "manifest.json").arrays.items()}


def saved_digests(bucket: ts.KvStore, run: str) -> dict[int, dict[str, Any]]:
    """The digests of the checkpoints of a run in the bucket."""
    return {step: digests(bucket.read(f"{run}/step-{step:08d}/manifest.json").result().value) for step in SAVED}


def test_a_job_trains_with_all_it_has_in_a_bucket(train, sections, bucket, local_digests):
    """Two pods tokenize, train and save; every saved bit is that of a run on this machine."""
    training = train(**sections("run"))
    training.wait_for_state("Complete", seconds=240)
    assert [entry["failureClass"] for entry in training.ledger] == ["Done"]
    assert saved_digests(bucket, "run") == local_digests


def test_pods_of_their_own_tokenize_and_all_of_them_are_killed(train, sections, bucket, local_digests):
    """Training begins when the text is there, and every bit is that of trainers that tokenize themselves."""
    of_job = sections("prepared")
    of_job["data"]["prepare"] = {"hosts": 2, "cpu": "500m", "memory": "1Gi"}
    training = train(**of_job)
    cluster, where = training.cluster, ("-n", training.namespace)

    def keys() -> list[str]:
        return [key.decode() for key in bucket.list(ts.KvStore.KeyRange("prepared-cache/", "prepared-cache0")).result()]

    training.wait_for("a builder at work", lambda _: any("/leases/" in key for key in keys()))
    builders = ("-l", "lateen.dev/job=small,lateen.dev/attempt=0")
    cluster.kubectl("delete", "pods", *where, *builders, "--grace-period=1", "--wait=false")
    assert not any(key.endswith(LEDGER) for key in keys()), "the pods were done before they were killed"
    assert training.status["state"] == "PreparingData"
    assert training.ledger == []

    training.wait_for_state("Complete", seconds=300)
    assert [entry["failureClass"] for entry in training.ledger] == ["Done"]
    assert training.status["data"]["whole"]
    assert saved_digests(bucket, "prepared") == local_digests
    pods = cluster.kubectl.get("pods", *where, *builders)["items"]
    assert sum(pod["status"]["phase"] == "Succeeded" for pod in pods) == 2
    events = cluster.kubectl.get("events", *where, "--field-selector=involvedObject.name=small")["items"]
    assert {"PreparingData", "DataReady", "DataWhole"} <= {event["reason"] for event in events}
