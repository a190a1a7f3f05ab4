"""A cluster that answers by a script, where a real one would need an operator; and an API server that says one thing.

The commands before a real API server are tested in tests/e2e_cluster.
"""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml


class Script:
    """Gives the jobs one after the other, and the last one for ever; likewise the pods of each attempt."""

    namespace = "research"

    def __init__(self, *jobs: dict[str, Any], pods: dict[int, list[list[dict[str, Any]]]] | None = None):
        self.jobs = list(jobs)
        self.pods_of = pods or {}
        self.written: list[bool] = []
        self.read: list[tuple[str, bool, int | None]] = []

    def job(self, name: str) -> dict[str, Any]:
        return self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]

    def set_suspend(self, name: str, suspend: bool) -> dict[str, Any]:
        self.written.append(suspend)
        return {**self.jobs[0], "spec": {"suspend": suspend}}

    def pods(self, job: str, attempt: int) -> list[dict[str, Any]]:
        listed = self.pods_of.get(attempt, [[]])
        return listed.pop(0) if len(listed) > 1 else listed[0]

    def log(self, pod: str, *, follow: bool, tail: int | None) -> Iterator[bytes]:
        self.read.append((pod, follow, tail))
        yield f"log of {pod}\n".encode()


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def job() -> Callable[..., dict[str, Any]]:
    """Makes a resource on which these conditions hold."""

    def make(*conditions: str, suspend: bool = False, **status: Any) -> dict[str, Any]:
        holding = [
            {
                "type": kind,
                "status": "True",
                "reason": "R",
                "message": "m",
                "lastTransitionTime": "2030-01-31T12:00:00Z",
            }
            for kind in conditions
        ]
        return {
            "metadata": {"name": "nano", "namespace": "research"},
            "spec": {"suspend": suspend},
            "status": {"conditions": holding, **status},
        }

    return make


@pytest.fixture
def api_server(tmp_path: Path) -> Iterator[Callable[[int, str], Path]]:
    """Starts a server on loopback that gives one answer to everything; the kubeconfig that leads to it."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: str) -> Path:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the tests' output."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return write_kubeconfig(tmp_path, f"http://127.0.0.1:{server.server_port}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a kubeconfig for the API server of this URL."""
    return lambda url: write_kubeconfig(tmp_path, url)


def write_kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {"token": "x"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "research"}}],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(content))
    return path
