"""kopf's handlers: each puts what a watch tells into the store, and wakes the job up."""

from collections.abc import Callable
from typing import Any

import aiohttp
import kopf

from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.resources import WATCHED, Resource
from lateen_operator.cluster.store import Key, Store
from lateen_operator.cluster.watches import Watches

FIRST_LISTS_SECONDS = 60.0
"""kopf starts every watch with a list; one that comes later than this is a new start."""


def make_registry(
    store: Store,
    wake: Callable[[Key], None],
    listed_again: Callable[[], None],
    watches: Watches,
    metrics: Metrics,
    session: aiohttp.ClientSession,
    url: str,
) -> kopf.OperatorRegistry:
    """The registry for `kopf.operator`.

    Args:
        store: gets the objects.
        wake: is called with jobs of which something changed.
        listed_again: is called when a watch started over, so that deletions may have been missed.
        watches: say since when they are.
        metrics: counts events.
        session: with which kopf makes its requests, those of the watches among them.
        url: of the API server.
    """
    registry = kopf.OperatorRegistry()

    # Scoped to the registry, as everything of kopf is by default to the process.
    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=url, aiohttp_session=session)

    for resource in WATCHED:
        _add_handler(registry, resource, store, wake, listed_again, watches, metrics)
    return registry


def _add_handler(
    registry: kopf.OperatorRegistry,
    resource: Resource,
    store: Store,
    wake: Callable[[Key], None],
    listed_again: Callable[[], None],
    watches: Watches,
    metrics: Metrics,
) -> None:
    counter = metrics.watch_events.labels(resource.plural)

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=f"on_{resource.plural}")
    async def on_event(event: Any, **_: Any) -> None:
        counter.inc()
        thing = event["object"]
        take = store.remove if event["type"] == "DELETED" else store.put
        key = take(resource, thing)
        if event["type"] is None and watches.uptime > FIRST_LISTS_SECONDS:
            listed_again()
        if key is not None:
            wake(key)
