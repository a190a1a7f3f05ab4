"""When a watch counts as alive, shown by kopf's own watches of a server that sends what the tests say."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from fake_api_server import FakeApiServer
from lateen_operator.cluster.connection import Server, open_session
from lateen_operator.cluster.handlers import make_registry
from lateen_operator.cluster.health import STALE_SECONDS, Health
from lateen_operator.cluster.informer_cache import InformerCache
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.cluster.operator import watch
from lateen_operator.cluster.resources import JOB_SETS, NETWORK_POLICIES, WATCHED
from lateen_operator.cluster.watch_requests import WatchRequests
from lateen_operator.cluster.watches import Watches
from watched_objects import KEY, job, job_set

MINUTE = 60.0


@dataclass
class Watching:
    """kopf at its watches of a fake server; what they say about themselves goes by a clock of the test's."""

    server: FakeApiServer
    namespaces: Sequence[str] = ()
    now: float = 0.0
    store: InformerCache = field(default_factory=lambda: InformerCache(time.time))
    lists: int = 0
    accepted_again: int = 0

    def __post_init__(self) -> None:
        self.watches = Watches(lambda: self.now, self.namespaces)
        self.health = Health(self.watches, lambda: 0.0, listed=True)
        self.paths = list(self.watches.ages())

    def note_list(self) -> None:
        self.lists += 1

    def note_accepted(self) -> None:
        self.accepted_again += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Watching"]:
        stop, metrics = asyncio.Event(), Metrics()
        server = Server(self.server.url, ssl.create_default_context(), lambda: None)
        requests = WatchRequests(self.watches, self.note_list, self.note_accepted, retry_seconds=0.05)
        async with open_session(server, metrics, requests) as session:
            registry = make_registry(self.store, lambda _: None, metrics, session, self.server.url)
            self.task = asyncio.create_task(watch(self.namespaces, registry, stop))
            try:
                await until(lambda: set(self.server.watches) == set(self.paths))
                yield self
                assert not self.task.done()
            finally:
                stop.set()
                await self.task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not holds():
            await asyncio.sleep(0.005)


def run(then: Callable[[Watching], Awaitable[None]], namespaces: Sequence[str] = ()) -> None:
    async def all_of_it() -> None:
        async with FakeApiServer() as server, Watching(server, namespaces).running() as watching:
            await then(watching)

    asyncio.run(all_of_it())


def test_an_hour_with_nothing_but_bookmarks_is_a_quiet_hour() -> None:
    async def then(watching: Watching) -> None:
        for _ in range(60):
            watching.now += MINUTE
            assert set(watching.watches.ages().values()) == {MINUTE}
            watching.server.bookmark(watching.paths)
            await until(lambda: set(watching.watches.ages().values()) == {0.0})
            assert watching.health.problems() == []
        requests = [request for request in watching.server.requests if request.endswith("/networkpolicies")]
        # One list, and one watch that was never broken.
        assert len(requests) == 2

    run(then)


def test_watches_over_which_nothing_comes_are_dead_after_seven_minutes() -> None:
    async def then(watching: Watching) -> None:
        watching.now += STALE_SECONDS
        assert watching.health.problems() == []
        watching.now += 1
        path = NETWORK_POLICIES.path()
        assert f"the watch of {path} has given no sign of life for 421 s (limit 420 s)" in watching.health.problems()
        assert len(watching.health.problems()) == len(WATCHED)

    run(then)


def test_a_watch_that_is_opened_again_is_alive() -> None:
    async def then(watching: Watching) -> None:
        watching.now += STALE_SECONDS + 1
        watching.server.end_watches(watching.paths)
        await until(lambda: watching.health.problems() == [])

    run(then)


def test_a_watch_that_starts_over_asks_for_a_list_however_young_the_operator_is() -> None:
    """What was deleted meanwhile is told by no watch, and kopf does not tell it either."""

    async def then(watching: Watching) -> None:
        assert watching.lists == len(WATCHED)
        path = JOB_SETS.path()
        expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        watching.server.send(path, "ERROR", expired)
        await until(lambda: watching.lists == len(WATCHED) + 1)

    run(then)


def test_of_two_namespaces_the_dead_watch_of_one_is_seen() -> None:
    async def then(watching: Watching) -> None:
        watching.now += STALE_SECONDS + 1
        living = [path for path in watching.paths if "/namespaces/a/" in path]
        watching.server.bookmark(living)
        await until(lambda: len(watching.health.problems()) == len(WATCHED))
        assert all("/namespaces/b/" in problem for problem in watching.health.problems())
        assert watching.watches.age(JOB_SETS) == STALE_SECONDS + 1

    run(then, ["a", "b"])


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "the API server does not know jobsets of jobset.x-k8s.io/v1alpha2: expected the CRDs"),
        (403, "the API server refuses the watch of /apis/jobset.x-k8s.io/v1alpha2/jobsets: 403 no"),
        (401, "the API server refuses the watch of /apis/jobset.x-k8s.io/v1alpha2/jobsets: 401 no"),
    ],
)
def test_a_watch_that_is_refused_waits_until_it_is_not(
    status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def then(watching: Watching) -> None:
        path = JOB_SETS.path()
        watching.store.put(WATCHED[0], job())
        watching.server.refused["jobsets"] = status
        watching.server.end_watches([path])
        refused_at = len(watching.server.requests)
        await until(lambda: watching.server.requests[refused_at:].count(f"GET {path}") >= 5)
        [unready] = watching.health.unready()
        assert unready.startswith(reason)
        # A new start would not help: the API server answers.
        watching.now += 2 * STALE_SECONDS
        await until(lambda: watching.watches.age(JOB_SETS) == 0.0)

        # What an API server says while it is getting ready: kopf waits, and the watch is not accepted yet.
        watching.server.refused["jobsets"] = 429
        refused_at = len(watching.server.requests)
        await until(lambda: watching.server.requests[refused_at:].count(f"GET {path}") >= 2)
        assert (watching.accepted_again, len(watching.health.unready())) == (0, 1)

        watching.server.refused.clear()
        await until(lambda: path in watching.server.watches)
        await until(lambda: watching.health.unready() == [])
        assert watching.accepted_again == 1
        watching.server.send(path, "ADDED", {"apiVersion": "v1", "kind": "J", **job_set()})
        await until(lambda: bool(watching.store.get(KEY).job_sets))

    run(then)
    said = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR", "CRITICAL")]
    assert [record.exc_info for record in said if record.exc_info] == []
    assert sum(reason in record.getMessage() for record in said) == 1


def test_before_everything_was_listed_it_is_not_ready() -> None:
    health = Health(Watches(lambda: 0.0), lambda: 0.0)
    assert health.unready() == ["objects are still being listed"]
