"""An API server that lists nothing, and whose watches carry what a test sends over them."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from lateen_operator.cluster.resources import WATCHED, Resource

_SERVED = (
    *WATCHED,
    # kopf waits until it knows these, though it asks for none of them.
    Resource("", "v1", "namespaces"),
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
)


class FakeApiServer:
    """Serves the kinds that the operator watches, on a port of this machine while the context is open."""

    def __init__(self) -> None:
        self.url = ""
        self.watches: dict[str, asyncio.Queue[dict[str, Any] | None]] = {}
        """What is sent over each open watch, by its path; None ends it."""

        self.refused: dict[str, int] = {}
        """Kinds whose requests are refused, by their plural name, and with which HTTP status."""

        self.requests: list[str] = []
        """Method and path of all requests."""

    async def __aenter__(self) -> "FakeApiServer":
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end_watches(list(self.watches))
        await self._runner.cleanup()

    def bookmark(self, paths: Sequence[str]) -> None:
        """Sends a bookmark over these watches."""
        for path in paths:
            self.send(path, "BOOKMARK", {"metadata": {"resourceVersion": "7"}})

    def send(self, path: str, event: str, body: dict[str, Any]) -> None:
        """Sends an event over a watch."""
        self.watches[path].put_nowait({"type": event, "object": body})

    def end_watches(self, paths: Sequence[str]) -> None:
        """Ends these watches, as the server does after a time."""
        for path in paths:
            self.watches.pop(path).put_nowait(None)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        plural = request.path.rpartition("/")[2]
        if plural in self.refused:
            status = self.refused[plural]
            return web.json_response({"kind": "Status", "code": status, "message": "no"}, status=status)
        resource = next((one for one in WATCHED if one.plural == plural), None)
        if resource is None:
            return web.json_response(_discovered(request.path))
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": []})
        return await self._stream(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        events = self.watches[request.path] = asyncio.Queue()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while (event := await events.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response


def _discovered(path: str) -> dict[str, Any]:
    """What the server has: groups, versions, or the kinds of a version."""
    groups = {one.group: one.version for one in _SERVED if one.group}
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        versions = {name: {"groupVersion": f"{name}/{version}", "version": version} for name, version in groups.items()}
        return {"groups": [{"name": n, "preferredVersion": v, "versions": [v]} for n, v in versions.items()]}
    return {"resources": [_kind(one) for one in _SERVED if one.path().rpartition("/")[0] == path]}


def _kind(resource: Resource) -> dict[str, Any]:
    return {
        "name": resource.plural,
        "singularName": resource.plural[:-1],
        "kind": resource.plural[:-1].capitalize(),
        "namespaced": True,
        "verbs": ["list", "watch", "patch"],
    }
