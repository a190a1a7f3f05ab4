"""The HTTP server of a trainer process.

| path | answers |
|---|---|
| /metrics | the numbers of this process, for Prometheus |
| /healthz | 200 while the loop moves, 503 when it has not for longer than its phase may take; both with a JSON reason |
| /progress | where the run is, as `lateen_api.progress.Progress`; on process 0 alone |
"""

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Self

from prometheus_client import CONTENT_TYPE_LATEST

from lateen_trainer.errors import UserError
from lateen_trainer.report.progress import ProgressState
from lateen_trainer.report.prometheus import PrometheusTracker

JSON = "application/json"
Answer = tuple[HTTPStatus, str, bytes]

log = logging.getLogger(__name__)


class MetricsServer:
    """Serves from a thread of its own while its block runs.

    Args:
        host: address to listen on: 0.0.0.0 in a pod, whose probes and scrapes come from outside; 127.0.0.1
        for
            a local run.
        port: port to listen on; 0: any free one, which the log tells.
        metrics: what /metrics shows.
        stale: why the loop counts as not alive, or None (`Lifecycle.stale`).
        progress: what /progress shows; None: this process has no such page.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: PrometheusTracker,
        stale: Callable[[], str | None],
        progress: ProgressState | None,
    ):
        self._host = host
        self._port = port
        self._metrics = metrics
        self._stale = stale
        self._progress = progress
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, or is to listen on."""
        return self._port if self._server is None else self._server.server_address[1]

    def __enter__(self) -> Self:
        """Starts to serve.

        Raises:
            UserError: the port is taken or may not be used.
        """
        try:
            self._server = _Server((self._host, self._port), _handler(self._pages()))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"LATEEN_METRICS_PORT: cannot serve metrics on {self._host}:{self._port} ({error}). "
                "Choose another port, or 0 for any free one."
            ) from error
        threading.Thread(target=self._server.serve_forever, name="lateen-metrics", daemon=True).start()
        log.info("Metrics at http://%s:%d/metrics", self._host, self.port)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _pages(self) -> dict[str, Callable[[], Answer]]:
        pages: dict[str, Callable[[], Answer]] = {"/metrics": self._show_metrics, "/healthz": self._show_health}
        if (progress := self._progress) is not None:
            pages["/progress"] = lambda: (
                HTTPStatus.OK,
                JSON,
                progress.snapshot().model_dump_json(by_alias=True).encode(),
            )
        return pages

    def _show_metrics(self) -> Answer:
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, self._metrics.exposition()

    def _show_health(self) -> Answer:
        reason = self._stale()
        status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
        return status, JSON, json.dumps({"healthy": reason is None, "reason": reason}).encode()


class _Server(ThreadingMixIn, TCPServer):
    """http.server's own class would look its host's name up first, which can take a resolver's time-out."""

    allow_reuse_address = True
    daemon_threads = True  # a client that never reads must not hold up the end of the process

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left before its answer was written is no error of the server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(pages: dict[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds for a client to send its request

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                known = ", ".join(pages)
                self.answer(HTTPStatus.NOT_FOUND, "text/plain", f"Expected one of {known}.\n".encode())
            else:
                self.answer(*page())

        def answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: there is one every few seconds."""

    return Handler
