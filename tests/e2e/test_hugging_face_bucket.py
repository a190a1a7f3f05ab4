"""A model in Hugging Face's format in an object store, a real server of its interface on this machine."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.parts import program
from cluster.waiting import wait_until
from cluster.web import answers
from trainer.hugging_face.folders import random_reference
from trainer.hugging_face.gang import together
from trainer.models.small_specs import ALL, VOCAB, small_spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="fake-gcs-server is built from its Go module"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def bucket(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a bucket called `there`, of an object store that the programs a test starts know."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "store" / "there").mkdir(parents=True)
    command = [program("fake-gcs-server"), "-backend", "filesystem", "-filesystem-root", tmp_path / "store"]
    options = ["-scheme", "http", "-log-level", "error", "-host", "127.0.0.1", "-port", str(port)]
    process = subprocess.Popen([*map(str, command), *options])
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(f"{address}/_internal/healthcheck"), "fake-gcs-server", 30)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        yield tmp_path / "store" / "there"
    finally:
        process.kill()
        process.wait()


def test_two_processes_read_and_write_a_bucket(bucket, tmp_path):
    """Buys that pods need no disk for a model: what comes out of the bucket and goes back into it is the same."""
    source = tmp_path / "source"
    random_reference(small_spec(ALL["llama"]), VOCAB).save_pretrained(source, max_shard_size="30KB")

    order = ["copy", {"url": str(source), "target": "gs://there/first", "file_bytes": 30_000}]
    again = ["copy", {"url": "gs://there/first", "target": str(tmp_path / "second"), "file_bytes": 30_000}]
    together(2, order, again)
    together(1, ["copy", {"url": str(source), "target": str(tmp_path / "third"), "file_bytes": 30_000}])

    second, third = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("second", "third")
    )
    assert second == third
    assert len([name for name in second if name.endswith(".safetensors")]) > 1
