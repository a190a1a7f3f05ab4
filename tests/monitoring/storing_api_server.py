"""An API server in memory that stores what the operator writes, sends it over watches, and fails where a test says."""

import asyncio
import itertools
import time
from typing import Any

from aiohttp import web
from controller_world import merged
from fake_api_server import FakeApiServer
from lateen_operator.attempt_codec import timestamp
from lateen_operator.cluster.resources import WATCHED, Resource
from lateen_operator.names import JOB_LABEL

Object = dict[str, Any]


class StoringApiServer(FakeApiServer):
    """Serves the kinds that the operator watches, and takes events."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: set[str] = set()
        """Jobs whose objects are refused for good."""

        self.failing: set[str] = set()
        """Jobs at whose objects the server fails."""

        self.unanswered: set[str] = set()
        """Jobs about whose objects it never answers."""

        self._versions = itertools.count(10)
        self._stored: dict[str, dict[tuple[str, str], Object]] = {one.plural: {} for one in WATCHED}

    def put(self, resource: Resource, body: Object) -> Object:
        """Stores an object, and tells those who watch."""
        metadata = body["metadata"]
        key, stored = (metadata["namespace"], metadata["name"]), self._stored[resource.plural]
        number = str(next(self._versions))
        fixed = {"uid": f"uid-{number}", "creationTimestamp": now()}
        stored_body = {**body, "metadata": {**fixed, **metadata, "resourceVersion": number}}
        event = "MODIFIED" if key in stored else "ADDED"
        stored[key] = stored_body
        self._tell(resource, event, stored_body)
        return stored_body

    def stored(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object as it is."""
        return self._stored[resource.plural].get((namespace, name))

    def _tell(self, resource: Resource, event: str, body: Object) -> None:
        if resource.path() in self.watches:
            self.send(resource.path(), event, body)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        resource = next((one for one in WATCHED if one.plural in parts), None)
        if request.method == "POST" and parts[-1] == "events":
            return web.json_response({})
        if "kueue.x-k8s.io" in parts:
            return _status(404, "Kueue is not installed")
        if resource is None or "watch" in request.query:
            return await super()._answer(request)
        stored = self._stored[resource.plural]
        if request.method == "POST":
            return await self._created(resource, await request.json())
        if parts[-1] == resource.plural:
            items = list(stored.values())
            return web.json_response({"metadata": {"resourceVersion": str(next(self._versions))}, "items": items})
        at = parts.index(resource.plural)
        key = (parts[at - 1], parts[at + 1])
        if key not in stored:
            return _status(404, "not found")
        if request.method == "PATCH":
            return web.json_response(self.put(resource, merged(stored[key], await request.json())))
        if request.method == "DELETE":
            self._tell(resource, "DELETED", stored.pop(key))
            return _status(200, "deleted")
        return web.json_response(stored[key])

    async def _created(self, resource: Resource, body: Object) -> web.StreamResponse:
        name, job = body["metadata"]["name"], body["metadata"]["labels"][JOB_LABEL]
        if job in self.unanswered:
            await asyncio.Event().wait()
        if job in self.forbidden:
            return _status(403, f"{resource.plural} {name} is forbidden: exceeded quota: pods")
        if job in self.failing:
            return _status(500, "no space left on device")
        return web.json_response(self.put(resource, body), status=201)


def now() -> str:
    """As Kubernetes writes it."""
    return timestamp(time.time()).split(".")[0] + "Z"


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)
