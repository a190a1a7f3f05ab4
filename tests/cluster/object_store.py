"""An object store of Cloud Storage's interface on this machine, fake-gcs-server, and faults on the way to it."""

import contextlib
import http.client
import http.server
import json
import random
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from cluster.parts import program
from cluster.waiting import wait_until
from cluster.web import answers

HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


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


class FaultyProxy(http.server.ThreadingHTTPServer):
    """Passes requests on to an object store, but for some, by a seed.

    Args:
        server: address of the object store.
        faults: what may happen to a request: a status of HTTP, `reset` or `slow`.
        share: of the requests that it happens to, 0 to 1.
    """

    daemon_threads = True

    def __init__(self, server: str, *, faults: list[int | str], share: float, seed: int = 0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = urlsplit(server).netloc
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults, self.share = faults, share
        self.happened: list[int | str] = []
        self._random, self._lock = random.Random(seed), threading.Lock()

    def fault(self) -> int | str | None:
        """What happens to the next request; None: nothing."""
        with self._lock:
            if not self.faults or self._random.random() >= self.share:
                return None
            self.happened.append(fault := self._random.choice(self.faults))
            return fault

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault()
        if fault == "reset":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if isinstance(fault, int):
            self._answer(fault, {"Content-Type": "application/json"}, b'{"error": {"message": "a fault of the test"}}')
            return
        upstream = http.client.HTTPConnection(self.server.server, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
        self._answer(answer.status, kept, content, slow=fault == "slow")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass_on

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, slow: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        pieces = 5 if slow else 1
        size = -(-len(content) // pieces) or 1
        for start in range(0, len(content), size):
            self.wfile.write(content[start : start + size])
            self.wfile.flush()
            if slow:
                time.sleep(0.05)

    def log_message(self, format: str, *arguments: object) -> None:
        """The test says what matters."""
