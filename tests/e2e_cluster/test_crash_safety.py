"""The operator is killed after each of its writes to the API server: the next one takes up what it was at.

Each scenario runs once undisturbed; then again and again, killed after write 1, 2, 3, …, until it makes no more. The
world must end up the same every time: no attempt lost, none doubled, nothing left behind.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.fixtures import api, behind_proxy, kubelet, own_namespace
from e2e_cluster.harness.kubelet import Kubelet
from e2e_cluster.harness.world import World, job, pods_of, settled
from lateen_operator.cluster.resources import JOBS

__all__ = ["api", "kubelet", "own_namespace"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

SETTLES_SECONDS = 45.0
MOST_WRITES = 20
AT_ONCE = 3
"""Runs beside each other, each with an operator of its own: most of their time they wait for somebody's grace."""


@dataclass(frozen=True)
class Scenario:
    """Something that happens to a job."""

    happens: Callable[[Api, Kubelet, str], None]
    is_over: Callable[[World], bool]
    from_start: bool = False
    """It begins before there is a job; else with one whose first attempt runs."""


def runs(attempts: int, hosts: int = 2) -> Callable[[World], bool]:
    """Is this attempt the one that runs, on all its hosts?"""

    def is_there(seen: World) -> bool:
        pods = [(f"job-a{attempts}-workers-0-{host}", "Running") for host in range(hosts)]
        return seen["count"] == attempts and seen["pods"] == pods and seen["state"] == "Starting"

    return is_there


def create(api: Api, kubelet: Kubelet, namespace: str) -> None:
    api.create(JOBS, job(namespace))


def fail(api: Api, kubelet: Kubelet, namespace: str) -> None:
    kubelet.end(pods_of(api, namespace, 1)[1]["metadata"]["name"], 137)


def resize(api: Api, kubelet: Kubelet, namespace: str) -> None:
    api.merge(JOBS, namespace, "job", {"spec": {"compute": {"hosts": 1}}})


def suspend(api: Api, kubelet: Kubelet, namespace: str) -> None:
    api.merge(JOBS, namespace, "job", {"spec": {"suspend": True}})


def delete(api: Api, kubelet: Kubelet, namespace: str) -> None:
    api.delete(JOBS, namespace, "job")


SCENARIOS = {
    "create": Scenario(create, runs(1), from_start=True),
    "restart": Scenario(fail, runs(2)),
    "resize": Scenario(resize, runs(2, hosts=1)),
    "suspend": Scenario(suspend, lambda seen: seen["state"] == "Suspended" and not seen["pods"]),
    "delete": Scenario(delete, lambda seen: seen["state"] is None and not seen["pods"] and not seen["jobsets"]),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_world_ends_up_the_same_wherever_the_operator_is_killed(
    name: str, api: Api, kubelet: Kubelet, own_namespace: Callable[[], str], tmp_path: Path
) -> None:
    """Slow: one run of the scenario for each write that it takes, on real controllers."""

    def run(killed_after: int | None) -> tuple[World, list[str]]:
        folder = tmp_path / str(killed_after)
        folder.mkdir()
        return _run(SCENARIOS[name], killed_after, api, kubelet, own_namespace(), folder)

    undisturbed, writes = run(None)
    assert len(writes) < MOST_WRITES
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, (disturbed, _) in enumerate(pool.map(run, range(1, len(writes) + 1)), start=1):
            assert disturbed == undisturbed, f"killed after write {number} of {writes}"


def _run(
    scenario: Scenario, killed_after: int | None, api: Api, kubelet: Kubelet, namespace: str, folder: Path
) -> tuple[World, list[str]]:
    with behind_proxy(api, folder) as (proxy, start_operator):
        operator = start_operator(namespace)
        if not scenario.from_start:
            api.create(JOBS, job(namespace))
            settled(api, namespace, runs(1), within=SETTLES_SECONDS)
        proxy.at_write(killed_after or 0, operator.process.kill)
        scenario.happens(api, kubelet, namespace)
        if killed_after is not None:
            # A run may take fewer writes than the undisturbed one took; then it is not killed.
            for _ in _until(operator.process.poll, SETTLES_SECONDS):
                if len(proxy.writes) < killed_after and _is_over(scenario, api, namespace):
                    break
            operator.close()
            start_operator(namespace)
        seen = settled(api, namespace, scenario.is_over, within=SETTLES_SECONDS)
        return seen, list(proxy.writes)


def _is_over(scenario: Scenario, api: Api, namespace: str) -> bool:
    try:
        settled(api, namespace, scenario.is_over, within=2.0)
    except AssertionError:
        return False
    return True


def _until(ended: Callable[[], object], seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while ended() is None and time.monotonic() < deadline:
        yield
        time.sleep(0.05)
