"""Calls to the API server: objects as plain dictionaries, errors as one family.

Only what the server itself asks to be repeated is repeated here (429, a few times). Everything else is the work
queue's: it looks at the job again, and a call that was made in between is not made twice.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from lateen_operator.cluster.resources import Resource

_TRIES = 4
_LONGEST_WAIT_SECONDS = 10.0
_PAGE = 250


class ApiError(Exception):
    """The API server did not do what was asked.

    Args:
        call: what was asked.
        status: HTTP status; 0: there was no answer.
        message: the server's.
        reason: the server's, as one word: `AlreadyExists`, `Conflict`, `Invalid`, …
    """

    def __init__(self, call: str, status: int, message: str, reason: str = ""):
        self.call = call
        super().__init__(f"{call}: {status or 'no answer'} {message}".strip())
        self.status = status
        self.message = message
        self.reason = reason


class NotFound(ApiError):
    """There is no such object."""


class Conflict(ApiError):
    """The object changed since it was read, or exists already."""


class Forbidden(ApiError):
    """The operator may not, or a quota or an admission webhook says no."""


class Invalid(ApiError):
    """The object is not valid, or a policy says no, which may change."""


_ERRORS = {403: Forbidden, 404: NotFound, 409: Conflict, 422: Invalid}


class Client:
    """Calls to one API server.

    Args:
        session: with credentials.
        url: of the server.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str):
        self._session = session
        self._url = url

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """The object as it is."""
        return await self._call("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
        """Creates the object; returns it as it was stored."""
        return await self._call("POST", resource.path(body["metadata"]["namespace"]), body)

    async def merge(
        self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], subresource: str | None = None
    ) -> dict[str, Any]:
        """Changes the object by a merge patch (RFC 7396); with a resourceVersion in it, only that version."""
        path = resource.path(namespace, name, subresource)
        return await self._call("PATCH", path, patch, content_type="application/merge-patch+json")

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, propagation: str = "Background"
    ) -> None:
        """Deletes the object, and its children after it. That it is gone already, or another one now, is fine."""
        options = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", resource.path(namespace, name), options)
        except (NotFound, Conflict):
            if await is_there(self, resource, namespace, name, uid):
                raise

    async def pages(
        self, resource: Resource, namespace: str | None, selector: str | None = None, fields: str | None = None
    ) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
        """All objects of a kind with these labels and fields, page by page, each with the version of the whole list."""
        query: dict[str, Any] = {"limit": _PAGE}
        if selector or resource.selector:
            query["labelSelector"] = selector or resource.selector
        if fields:
            query["fieldSelector"] = fields
        while True:
            answer = await self._call("GET", resource.path(namespace, query=query))
            yield answer.get("items") or [], int(answer["metadata"].get("resourceVersion") or 0)
            query["continue"] = answer["metadata"].get("continue")
            if not query["continue"]:
                return

    async def proxy(self, namespace: str, pod: str, port: int, path: str, timeout: float) -> tuple[int, bytes]:
        """What a pod answers on a port, asked through the API server: status and body."""
        url = f"{self._url}/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"
        async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=timeout)) as response:
            return response.status, await response.read()

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        call = f"{method} {path.partition('?')[0]}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        for tried in range(1, _TRIES + 1):
            try:
                async with self._session.request(method, self._url + path, data=data, headers=headers) as response:
                    text = await response.read()
                    if response.status == 429 and tried < _TRIES:
                        await asyncio.sleep(_asked_to_wait(response, tried))
                        continue
                    if response.status < 400:
                        return _read(call, response.status, text)
                    raise _error(call, response.status, text)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ApiError(call, 0, str(error) or type(error).__name__) from error
        raise AssertionError("the last try returns or raises")


async def is_there(client: Client, resource: Resource, namespace: str, name: str, uid: str) -> bool:
    """Is there still this object, and no other one of its name?

    A request with a uid in it is answered with a conflict where the object is another one by now, and also where
    somebody else changed it at the same time.
    """
    try:
        return (await client.get(resource, namespace, name))["metadata"]["uid"] == uid
    except NotFound:
        return False


def _asked_to_wait(response: aiohttp.ClientResponse, tried: int) -> float:
    """Seconds of Retry-After, within bounds; without it 1 s, 2 s, 4 s."""
    asked = response.headers.get("Retry-After", "")
    seconds = float(asked) if asked.isdecimal() else 2.0 ** (tried - 1)
    return min(_LONGEST_WAIT_SECONDS, max(0.1, seconds))


def _read(call: str, status: int, text: bytes) -> dict[str, Any]:
    try:
        return json.loads(text)
    except ValueError as error:
        # A load balancer's page, or an answer that was cut off.
        raise ApiError(call, status, f"the answer is no JSON: {text[:200].decode(errors='replace')!r}") from error


def _error(call: str, status: int, text: bytes) -> ApiError:
    try:
        answer = json.loads(text)
        message, reason = str(answer["message"]), str(answer.get("reason", ""))
    except (ValueError, KeyError, TypeError):
        message, reason = text[:200].decode(errors="replace"), ""
    return _ERRORS.get(status, ApiError)(call, status, message, reason)
