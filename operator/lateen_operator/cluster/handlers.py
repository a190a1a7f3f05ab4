"""kopf's handlers: each puts what a watch tells into the store, and wakes the job up."""

from collections.abc import Callable
from typing import Any

import aiohttp
import kopf

from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.resources import WATCHED, Resource


def make_registry(
    store: InformerCache,
    wake: Callable[[Key], None],
    metrics: Metrics,
    session: aiohttp.ClientSession,
    url: str,
) -> kopf.OperatorRegistry:
    """The registry for `kopf.operator`.

    Args:
        store: gets the objects.
        wake: is called with jobs of which something changed.
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
        _add_handler(registry, resource, store, wake, metrics)
    return registry


def _add_handler(
    registry: kopf.OperatorRegistry,
    resource: Resource,
    store: InformerCache,
    wake: Callable[[Key], None],
    metrics: Metrics,
) -> None:
    counter = metrics.watch_events.labels(resource.plural)

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=f"on_{resource.plural}")
    async def on_event(event: Any, **_: Any) -> None:
        counter.inc()
        thing = event["object"]
        take = store.remove if event["type"] == "DELETED" else store.put
        key = take(resource, thing)
        if key is not None:
            wake(key)
