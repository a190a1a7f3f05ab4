"""The operator as a whole: puts its parts together, and runs until it is told to end."""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

import aiohttp
import kopf

from lateen_operator.cluster.admission import Admissions
from lateen_operator.cluster.apply import Apply
from lateen_operator.cluster.capacity_probes import CapacityProbes
from lateen_operator.cluster.client import Client
from lateen_operator.cluster.connection import find_server, open_session
from lateen_operator.cluster.controller import Controller
from lateen_operator.cluster.event_poster import EventPoster
from lateen_operator.cluster.handlers import make_registry
from lateen_operator.cluster.health import Health
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.planned import Plans
from lateen_operator.cluster.poller import Poller, fetch_by_address, fetch_through_server
from lateen_operator.cluster.resources import WATCHED
from lateen_operator.cluster.resync import Resync
from lateen_operator.cluster.server import serve
from lateen_operator.cluster.status_writer import StatusWriter
from lateen_operator.cluster.uncreated import Uncreated
from lateen_operator.cluster.watch_requests import WatchRequests
from lateen_operator.cluster.watch_settings import watch_settings
from lateen_operator.cluster.watches import Watches
from lateen_operator.cluster.work_queue import WorkQueue
from lateen_operator.settings import OperatorSettings

log = logging.getLogger(__name__)


async def run_operator(settings: OperatorSettings) -> None:
    """Works on all jobs until SIGTERM or SIGINT arrives.

    Jobs go on without an operator; whatever it was at, the next one takes up.

    Raises:
        ConnectionFailed: there is no way to a cluster.
        KindMissing: the cluster lacks a CRD.
        ApiError: the API server does not answer, or not us.
    """
    metrics = Metrics()
    watches = Watches(time.monotonic, settings.namespaces)
    server = find_server(settings)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(server, metrics))
        plain = await stack.enter_async_context(aiohttp.ClientSession())
        client = Client(session, server.url)
        store = InformerCache(time.time)
        queue: WorkQueue[Key] = WorkQueue(time.monotonic)
        through_server = settings.progress_via == "proxy"
        port = settings.metrics_port
        poller = Poller(
            fetch=fetch_through_server(client, port) if through_server else fetch_by_address(plain, port),
            wake=queue.put,
            clock=time.time,
            metrics=metrics,
            seconds=settings.poll_seconds,
            rng=random.Random(),
        )
        poster = EventPoster(client, time.time)
        apply = Apply(client, store, settings)
        controller = Controller(
            client=client,
            store=store,
            queue=queue,
            apply=apply,
            capacity_probes=CapacityProbes(client, store, settings),
            plans=Plans(),
            uncreated=Uncreated(client, time.time),
            admissions=Admissions(client, time.time),
            poller=poller,
            statuses=StatusWriter(client, store, queue, apply, poster, metrics, time.time),
            metrics=metrics,
            clock=time.time,
        )
        health = Health(watches, lambda: queue.longest_processing)
        metrics.queue_depth.set_function(lambda: len(queue))
        metrics.longest_running_worker.set_function(lambda: queue.longest_processing)
        for resource in WATCHED:
            metrics.watch_age.labels(resource.plural).set_function(lambda resource=resource: watches.age(resource))
        served = serve(settings.server_port, metrics, health)
        log.info("metrics and health are served on port %d", await stack.enter_async_context(served))
        resync = Resync(client, store, settings.namespaces, queue.put)
        _on_signals(stop)
        # Nothing is decided before everything is known: else an attempt that runs would be started a second time.
        first = asyncio.create_task(resync.initial_list(), name="initial list")
        if not await _unless_stopped(first, stop):
            return
        health.listed = True
        log.info("%d jobs are known; working", len(store))

        def accepted_again() -> None:
            # Jobs wait for it, some of them for a minute more if nobody wakes them up.
            resync.request()
            waiting = store.keys()
            for key in waiting:
                queue.put(key)

        through = open_session(server, metrics, WatchRequests(watches, resync.request, accepted_again))
        watching = await stack.enter_async_context(through)
        registry = make_registry(store, queue.put, metrics, watching, server.url)
        parts = {
            asyncio.create_task(watch(settings.namespaces, registry, stop), name="watches"),
            asyncio.create_task(controller.run(settings.workers), name="workers"),
            asyncio.create_task(poller.run(), name="poller"),
            asyncio.create_task(resync.run(), name="resync"),
            asyncio.create_task(poster.run(), name="events"),
        }
        await _until_one_ends(parts, stop)


def _on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def watch(namespaces: Sequence[str], registry: kopf.OperatorRegistry, stop: asyncio.Event) -> None:
    """Watches these namespaces (none: all) until it is told to stop."""
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=watch_settings(),
        # Else kopf asks for the user's name, and a pod's user may have none.
        identity=cast(Any, "lateen"),
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    # kopf takes the signals for itself, and would then wait 5 s for our parts to end by themselves.
    _on_signals(stop)
    await kopf.run_tasks(tasks, ignored=others)


async def _unless_stopped(task: "asyncio.Task[None]", stop: asyncio.Event) -> bool:
    """Waits for the task; False: told to stop before."""
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    stopping.cancel()
    await task
    return True


async def _until_one_ends(parts: "set[asyncio.Task[None]]", stop: asyncio.Event) -> None:
    """None of the parts ends by itself while all is well: when one does, the operator does, too."""
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait({*parts, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*parts, stopping):
            task.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
    for task in done - {stopping}:
        log.error("%s ended, which ends the operator", task.get_name())
        task.result()
