"""The requests by which kopf watches: what comes over them is noted, and a refused one waits instead of failing.

kopf keeps bookmarks to itself, so they are noted where they arrive, in the body of the answer. And it ends itself, and
with it the operator, when the API server refuses a watch, as it does while a CRD or a right is missing.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, cast

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.streams import AsyncStreamIterator, StreamReader

from lateen_operator.cluster.resources import missing
from lateen_operator.cluster.watches import Watches

RETRY_SECONDS = 5.0
"""A refused watch is requested again after so long."""

_KOPF_HANDLES = frozenset({410, 429})
"""Gone: kopf lists again. Too many requests: it waits as long as it is asked to."""

log = logging.getLogger(__name__)


class WatchRequests:
    """Middleware of the session that kopf uses.

    Args:
        watches: are told of signs of life and of refusals.
        listed: is called when a list was answered, with which kopf starts every watch and starts it over.
        accepted_again: is called when a watch was refused and is not any more.
        retry_seconds: between two requests for a refused watch.
    """

    def __init__(
        self,
        watches: Watches,
        listed: Callable[[], None],
        accepted_again: Callable[[], None],
        *,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._watches = watches
        self._listed = listed
        self._accepted_again = accepted_again
        self._retry_seconds = retry_seconds

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        path = self._watches.path_of(request.url.path)
        if path is None:
            return await handler(request)
        while True:
            response = await handler(request)
            if response.status < 500:
                self._watches.alive(path)
            if response.status < 400 or response.status in _KOPF_HANDLES:
                break
            await self._note_refusal(path, response)
            await asyncio.sleep(self._retry_seconds)
        if response.status < 400 and self._watches.accepted(path):
            log.info("the API server accepts the watch of %s again", path)
            self._accepted_again()
        is_watch = "watch=true" in request.url.raw_query_string
        if response.status == 200 and not is_watch:
            self._listed()
        elif response.status == 200:
            noted = _NotedStream(response.content, lambda: self._watches.alive(path))
            response.content = cast(StreamReader, noted)
        return response

    async def _note_refusal(self, path: str, response: ClientResponse) -> None:
        try:
            message = json.loads(await response.read())["message"]
        except (ValueError, KeyError, TypeError):
            message = response.reason
        finally:
            response.release()
        if response.status == 404:
            why = missing(self._watches.resource_of(path))
        else:
            why = f"the API server refuses the watch of {path}: {response.status} {message}"
        if self._watches.refused(path, why):
            log.error("%s. Jobs wait for it; it is requested again every %.3g s", why, self._retry_seconds)


class _NotedStream:
    """The body of an answer, of which each piece that arrives is noted.

    Args:
        stream: the body.
        note: is called when a piece has been read.
    """

    def __init__(self, stream: StreamReader, note: Callable[[], None]) -> None:
        self._stream = stream
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, n: int = -1) -> bytes:
        piece = await self._stream.read(n)
        if piece:
            self._note()
        return piece

    def iter_chunked(self, n: int) -> AsyncStreamIterator[bytes]:
        return AsyncStreamIterator(lambda: self.read(n))
