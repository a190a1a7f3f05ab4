"""What tests of a failing object store share: a real server of its interface behind a proxy, and divided times."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import gcsfs
import gcsfs.retry
import pytest
from cluster.faulty_proxy import FaultyProxy
from lateen_trainer import saving, storage

BUCKET = "faulty"

needs_server = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="fake-gcs-server is built from its Go module"),
    pytest.mark.timeout(600),
]


def retries(number: int) -> dict:
    """For TensorStore's context: some hundredths of a second between tries."""
    return {"gcs_request_retries": {"max_retries": number, "initial_delay": "10ms", "max_delay": "50ms"}}


@contextmanager
def faulty_proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Before an object store; this process knows the proxy alone, and gives up after hundredths of the usual times."""
    with FaultyProxy(server) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.address)
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", proxy.address)
        monkeypatch.setattr(storage, "_FIRST_TRIES", retries(12))
        monkeypatch.setattr(storage, "RETRIES", retries(12))
        monkeypatch.setattr(saving, "RETRY_SECONDS", 0.2)
        monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=lambda seconds: asyncio.sleep(seconds / 100)))
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield proxy
