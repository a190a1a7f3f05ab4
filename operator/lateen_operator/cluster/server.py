"""The operator's own port: /metrics, /healthz and /readyz."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lateen_operator.cluster.health import Health
from lateen_operator.cluster.metrics import Metrics


@asynccontextmanager
async def serve(port: int, metrics: Metrics, health: Health) -> AsyncIterator[int]:
    """Serves while the context is open, on all addresses. Yields the port, which was chosen if 0 was given."""

    async def read_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        problems = health.problems()
        return web.Response(text="\n".join(problems or ["ok"]) + "\n", status=500 if problems else 200)

    async def readyz(_: web.Request) -> web.Response:
        reasons = health.unready()
        return web.Response(text="\n".join(reasons or ["ok"]) + "\n", status=503 if reasons else 200)

    application = web.Application()
    application.router.add_get("/metrics", read_metrics)
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        # A port that the system chooses would be another one for each family of addresses.
        site = web.TCPSite(runner, None if port else "0.0.0.0", port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
