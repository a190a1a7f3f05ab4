"""A proxy before the API server that counts the operator's writes, and does something at one of them."""

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web
from e2e_cluster.harness.api import Api

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_HOP_BY_HOP = ("transfer-encoding", "connection", "content-length", "host", "content-encoding")

EXPIRED = {
    "type": "ERROR",
    "object": {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "too old resource version",
        "reason": "Expired",
        "code": 410,
    },
}
"""What a watch tells whose version the API server has forgotten."""

_REASONS = {403: "Forbidden", 409: "Conflict", 429: "TooManyRequests", 500: "InternalError"}


@dataclass(frozen=True)
class Write:
    """A write that the API server has carried out."""

    method: str
    path: str
    """With its query."""

    content_type: str
    body: bytes


class Proxy:
    """Forwards everything, in a thread of its own.

    Args:
        api: the API server behind it, and who calls it.
    """

    def __init__(self, api: Api):
        self._api = api
        self._lock = threading.Lock()
        self._armed: tuple[int, Callable[[], None]] | None = None
        self._refusals: list[int] = []
        self._refused_paths = ""
        self._away = threading.Event()
        self._open: set[asyncio.Task[None]] = set()
        self._watching: set[asyncio.Task[None]] = set()
        self._watches_broken = threading.Event()
        self._expired = asyncio.Event()
        self.writes: list[str] = []
        """Methods and paths of the writes, in order; events aside."""

        self.recorded: list[Write] = []
        """All writes, events too, in the order of their answers."""

        self.forbidden: list[str] = []
        """What the API server itself said of requests that its caller had no right to, in order."""

        self.port = 0
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def kubeconfig(self, path: Path) -> Path:
        """Writes a kubeconfig that leads to the proxy."""
        cluster = {"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        user = {"name": "test", "user": {}}
        context = {"name": "proxy", "context": {"cluster": "proxy", "user": "test"}}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [cluster],
                    "users": [user],
                    "contexts": [context],
                    "current-context": "proxy",
                }
            )
        )
        return path

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watching)

    def at_write(self, number: int, action: Callable[[], None]) -> None:
        """Does this as soon as the API server has carried out the write of this number from now, from 1 on, before its
        answer is passed on."""
        with self._lock:
            self.writes.clear()
            self._armed = (number, action)

    def disarm(self) -> None:
        """Does nothing at later writes, and refuses none."""
        with self._lock:
            self._armed = None
            self._refusals.clear()

    def refuse(self, writes: int, status: int, of: str = "") -> None:
        """Answers so many of the next writes with this error (403, 409, 429 or 500), and does not pass them on.

        Args:
            of: only writes whose method and path match this regular expression.
        """
        with self._lock:
            self._refusals, self._refused_paths = [status] * writes, of

    def go_away(self) -> None:
        """Ends all connections and takes no new ones, until `come_back`."""
        self._away.set()
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._open])

    def come_back(self) -> None:
        self._away.clear()

    def expire_watches(self, meanwhile: Callable[[], None]) -> None:
        """Breaks all watches, and answers that their versions are too old once `meanwhile` has been done."""
        self._expired.clear()
        self._watches_broken.set()
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._watching])
        meanwhile()
        self._watches_broken.clear()
        self._loop.call_soon_threadsafe(self._expired.set)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        started.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._api.tls, limit=0))
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        for task in self._open:
            task.cancel()
        await self._runner.cleanup()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        is_watch = "watch=true" in request.query_string
        if is_watch:
            self._watching.add(task)
        try:
            if self._away.is_set():
                assert request.transport is not None
                request.transport.abort()
                return web.Response(status=503)
            if is_watch and self._watches_broken.is_set():
                await self._expired.wait()
                return web.json_response(EXPIRED)
            return self._refusal(request) or await self._pass_on(request)
        except aiohttp.ClientConnectionResetError:
            # The operator was killed, and nobody is left to be answered.
            return web.Response(status=503)
        finally:
            self._open.discard(task)
            self._watching.discard(task)

    def _refusal(self, request: web.Request) -> web.Response | None:
        with self._lock:
            if not self._refusals or not _is_write(request):
                return None
            if not re.search(self._refused_paths, f"{request.method} {request.path}"):
                return None
            code = self._refusals.pop()
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": f"{request.method} {request.path}: refused by the test",
            "reason": _REASONS[code],
            "code": code,
        }
        return web.json_response(status, status=code, headers={"Retry-After": "1"} if code == 429 else {})

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        if self._api.token:
            headers["Authorization"] = self._api.token
        url = f"{self._api.url}{request.raw_path}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read() or None, timeout=timeout
        ) as answer:
            body = None
            if answer.status == 403:
                body = await answer.read()
                self.forbidden.append(body.decode(errors="replace"))
            if request.method in _WRITES and answer.status < 400:
                self.recorded.append(
                    Write(request.method, request.raw_path, headers.get("Content-Type", ""), await request.read())
                )
            if _is_write(request) and answer.status < 400:
                body = await answer.read()
                self._count(f"{request.method} {request.path}")
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            if body is not None:
                await response.write(body)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    def _count(self, write: str) -> None:
        with self._lock:
            self.writes.append(write)
            armed = self._armed
            if armed is None or len(self.writes) != armed[0]:
                return
            self._armed = None
        armed[1]()


def _is_write(request: web.Request) -> bool:
    """Of anything but events."""
    return request.method in _WRITES and not request.path.endswith("/events")
