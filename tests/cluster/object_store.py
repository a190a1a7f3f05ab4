"""An object store of Cloud Storage's interface on this machine: fake-gcs-server."""

import contextlib
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator

from cluster.parts import program
from cluster.waiting import wait_until
from cluster.web import answers


@contextlib.contextmanager
def object_store(bucket: str, host: str = "127.0.0.1") -> Iterator[str]:
    """Address of an object store with one bucket.

    Args:
        host: address of this machine at which it listens.
    """
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    address = f"http://{host}:{port}"
    # Addresses of resumable uploads are made of it.
    command = [program("fake-gcs-server"), "-backend", "memory", "-scheme", "http", "-log-level", "error"]
    process = subprocess.Popen([*map(str, command), "-host", host, "-port", str(port)])
    try:
        wait_until(lambda: answers(f"{address}/_internal/healthcheck"), "fake-gcs-server", 30)
        body = json.dumps({"name": bucket}).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{address}/storage/v1/b", body, headers)).close()
        yield address
    finally:
        process.kill()
        process.wait()
