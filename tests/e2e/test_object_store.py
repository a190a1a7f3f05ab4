"""Runs whose text, tokens and checkpoints lie in an object store, a real server of its interface on this machine."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
import tensorstore as ts
from cluster.object_store import object_store
from lateen_api.termination import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="fake-gcs-server is built from its Go module"),
    pytest.mark.timeout(600),
]

BUCKET = "there"
STEPS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of an object store with one bucket."""
    with object_store(BUCKET) as address:
        yield address


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> ts.KvStore:
    """The bucket of an object store that the programs that a test starts know, too."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", server)
    return ts.KvStore.open({"driver": "gcs", "bucket": BUCKET}).result()


def list_checkpoints(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lateen_api.cli", "checkpoints", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_run_in_a_bucket_is_that_of_a_folder(lateen_run, bucket):
    """Tokens and checkpoints by TensorStore, the text by gcsfs, two processes, a stop, another width."""
    texts = Path(fsspec.__file__).parent
    for text in texts.glob("*.py"):
        bucket.write(f"texts/{text.name}", text.read_bytes()).result()
    validation = "data.validationUrls=[python-stdlib://asyncio/base_*.py]"
    local = lateen_run("--run-dir", "local", "--set", f"data.trainUrls=[{texts}/*.py]", "--set", validation)
    assert local.finish() == 0, local.output
    in_bucket = (
        *("--run-dir", "bucket", "--set", f"data.trainUrls=[gs://{BUCKET}/texts/*.py]", "--set", validation),
        *("--set", f"data.cacheDir=gs://{BUCKET}/cache", "--set", f"checkpoint.path=gs://{BUCKET}/run"),
    )
    run = lateen_run(*in_bucket, "--hosts", "2")
    run.wait_for_step(13)
    run.process.terminate()
    assert run.finish(seconds=60) != 0

    resumed = lateen_run(*in_bucket)

    assert resumed.finish() == 0, resumed.output
    assert resumed.result()["attempts"][-1]["firstStep"] > 0
    assert list(resumed.steps()) == list(range(1, STEPS + 1))
    assert resumed.steps() == local.steps()
    assert resumed.result()["validationLoss"] == local.result()["validationLoss"]
    assert [name for name in bucket.list().result() if b"probe" in name] == []
    listed = list_checkpoints(f"gs://{BUCKET}/run", "--verify")
    assert listed.returncode == 0, listed.stderr
    assert "step-00000060" in listed.stdout


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "checkpoint.path=gs://missing/run",
            "spec.checkpoint.path is 'gs://missing/run': there is no such bucket. Correct its name, or create it.",
        ),
        (
            "data.cacheDir=gs://missing/cache",
            "spec.data.cacheDir is 'gs://missing/cache': there is no such bucket. Correct its name, or create it.",
        ),
        ("data.trainUrls=[gs://missing/a.txt]", "spec.data.trainUrls names 'gs://missing/a.txt', which does not exist"),
        (
            "data.trainUrls=[gs://missing/*.txt]",
            "spec.data.trainUrls names 'gs://missing/*.txt', which does not exist",
        ),
        (
            "trainer.initializeFrom=gs://missing/model",
            "spec.trainer.initializeFrom: is 'gs://missing/model': there is no such bucket. Correct its name, or ",
        ),
        (
            "export.huggingFace=gs://missing/model",
            "spec.export.huggingFace is 'gs://missing/model': there is no such bucket. Correct its name, or create it.",
        ),
    ],
)
def test_a_missing_bucket_is_told_before_any_work(lateen_run, bucket, setting: str, message: str):
    run = lateen_run("--set", setting)
    assert run.finish(seconds=60) == ExitCode.USER_ERROR, run.output
    assert message in run.output
    assert not (run.folder / "cache").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("checkpoint.path=gs://there/run", "spec.checkpoint.path is 'gs://there/run': the object store cannot be "),
        ("data.cacheDir=gs://there/cache", "spec.data.cacheDir is 'gs://there/cache': the object store cannot be "),
        ("data.trainUrls=[gs://there/a.txt]", "spec.data.trainUrls names 'gs://there/a.txt', whose server cannot be "),
        (
            "trainer.initializeFrom=gs://there/model",
            "spec.trainer.initializeFrom: is 'gs://there/model': the object store cannot be ",
        ),
        (
            "export.huggingFace=gs://there/model",
            "spec.export.huggingFace is 'gs://there/model': the object store cannot be ",
        ),
    ],
)
def test_an_object_store_that_does_not_answer_is_told_in_seconds(
    lateen_run: Callable, monkeypatch: pytest.MonkeyPatch, setting: str, message: str
):
    # TensorStore takes the address from gcsfs' variable.
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    began = time.monotonic()
    run = lateen_run("--set", setting, "--set", "recovery.maxFailures=0")
    assert run.finish(seconds=60) == ExitCode.ERROR, run.output
    assert time.monotonic() - began < 30
    assert f"{message}reached" in run.output
    assert "Check this machine's network" in run.output


def test_a_list_of_checkpoints_in_an_object_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    listed = list_checkpoints("gs://there/run")
    assert listed.returncode == ExitCode.ERROR
    message = listed.stderr.splitlines()[-1]
    assert message.startswith("Error: spec.checkpoint.path is 'gs://there/run': the object store cannot be reached (")
