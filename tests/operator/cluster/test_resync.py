"""Lists of all objects into the store."""

import asyncio
import ssl

import pytest
from fake_api_server import FakeApiServer
from lateen_operator.cluster.client import Client
from lateen_operator.cluster.connection import Server, open_session
from lateen_operator.cluster.informer_cache import InformerCache
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.resources import PODS, WATCHED
from lateen_operator.cluster.resync import KindMissing, Resync


async def listing(server: FakeApiServer, *, sweeps: bool) -> None:
    to = Server(server.url, ssl.create_default_context(), lambda: None)
    async with open_session(to, Metrics()) as session:
        lists = Resync(Client(session, server.url), InformerCache(lambda: 0.0), (), lambda _: None)
        if not sweeps:
            await lists.initial_list()
            return
        lists.request()
        sweep = asyncio.create_task(lists.run())
        async with asyncio.timeout(10.0):
            while len(server.requests) < len(WATCHED):
                await asyncio.sleep(0.01)
        sweep.cancel()


def test_a_kind_that_is_missing_at_the_start_is_named() -> None:
    async def all_of_it() -> None:
        async with FakeApiServer() as server:
            server.refused["jobsets"] = 404
            await listing(server, sweeps=False)

    with pytest.raises(KindMissing, match=r"does not know jobsets of jobset.x-k8s.io/v1alpha2: .* Install them\."):
        asyncio.run(all_of_it())


def test_a_kind_that_went_missing_does_not_keep_the_others_from_being_listed(caplog: pytest.LogCaptureFixture) -> None:
    async def all_of_it() -> list[str]:
        async with FakeApiServer() as server:
            server.refused["jobsets"] = 404
            await listing(server, sweeps=True)
            return server.requests

    assert f"GET {PODS.path()}" in asyncio.run(all_of_it())
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("jobsets could not be listed, which is tried again later: the API server does not know")
