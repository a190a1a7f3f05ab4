"""Lists all objects, page by page, into the informer cache: once before anything is decided, and now and then after.

kopf lists, too, but reports neither when its list is complete nor what was deleted while a watch was broken.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lateen_operator.cluster.client import ApiError, Client, NotFound
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.resources import WATCHED, Resource, missing

RESYNC_SECONDS = 600.0
_FIRST_TRIES = 12
_FIRST_WAIT_SECONDS = 5.0

log = logging.getLogger(__name__)


class KindMissing(Exception):
    """The API server does not know a kind that the operator needs."""


@dataclass
class Resync:
    """Lists into a store.

    Args:
        client: calls the API server.
        store: receives the listed objects.
        namespaces: in which to look; empty: in all.
        wake: called with each job of which an object changed.
    """

    client: Client
    store: InformerCache
    namespaces: Sequence[str]
    wake: Callable[[Key], None]

    def __post_init__(self) -> None:
        self._requested = asyncio.Event()

    async def initial_list(self) -> None:
        """Lists everything; waits a minute for an API server that is not there yet.

        Raises:
            ApiError: it did not come.
            KindMissing: it lacks a CRD.
        """
        for tried in range(1, _FIRST_TRIES + 1):
            try:
                return await self.list_all()
            except ApiError as error:
                if tried == _FIRST_TRIES or error.status in (401, 403):
                    raise
                log.warning("the API server does not answer yet: %s", error)
                await asyncio.sleep(_FIRST_WAIT_SECONDS)
        raise AssertionError("the last try returns or raises")

    def request(self) -> None:
        """Requests a resync soon: a watch starts, and no watch reports what was deleted before it did."""
        self._requested.set()

    async def run(self) -> None:
        """Lists everything now and then, until it is cancelled."""
        while True:
            try:
                await asyncio.wait_for(self._requested.wait(), RESYNC_SECONDS)
                # Watches start together; one list is enough for all of them.
                await asyncio.sleep(1.0)
            except TimeoutError:
                pass
            self._requested.clear()
            # A kind that cannot be listed does not keep the others from it.
            for resource in WATCHED:
                try:
                    await self._list_kind(resource)
                except (ApiError, KindMissing) as error:
                    log.warning("%s could not be listed, which is tried again later: %s", resource.plural, error)

    async def list_all(self) -> None:
        """Lists everything once.

        Raises:
            ApiError: the API server does not answer.
            KindMissing: it lacks a CRD.
        """
        for resource in WATCHED:
            await self._list_kind(resource)

    async def _list_kind(self, resource: Resource) -> None:
        for namespace in self.namespaces or (None,):
            try:
                await self._list(resource, namespace)
            except NotFound as error:
                raise KindMissing(f"{missing(resource)}.") from error

    async def _list(self, resource: Resource, namespace: str | None) -> None:
        uids, listed, changed = set[str](), 0, set[Key]()
        async for things, version in self.client.pages(resource, namespace):
            listed = version
            for thing in things:
                uids.add(thing["metadata"]["uid"])
                key = self.store.put(resource, thing)
                changed |= {key} if key else set()
            # A page of a thousand pods is much work; others want to work, too.
            await asyncio.sleep(0)
        changed |= self.store.keep_only(resource, namespace, uids, listed)
        for key in changed:
            self.wake(key)
