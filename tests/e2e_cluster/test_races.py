"""What people and networks do to a job behind the operator's back: it settles on the right state."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.fixtures import Start, api, behind, behind_proxy, kubelet, own_namespace, proxy, start_operator
from e2e_cluster.harness.kubelet import Kubelet
from e2e_cluster.harness.operator_process import OperatorProcess
from e2e_cluster.harness.proxy import Proxy
from e2e_cluster.harness.world import World, job, pods_of, settled, world
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, NETWORK_POLICIES

__all__ = ["api", "behind", "kubelet", "own_namespace", "proxy", "start_operator"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SECONDS = 60.0


def runs(attempts: int) -> Callable[[World], bool]:
    def is_there(seen: World) -> bool:
        return seen["count"] == attempts and len(seen["pods"]) == 2 and all(pod[1] == "Running" for pod in seen["pods"])

    return is_there


@pytest.fixture
def namespace(own_namespace: Callable[[], str]) -> str:
    return own_namespace()


@pytest.fixture
def operator(start_operator: Start, api: Api, kubelet: Kubelet, namespace: str) -> OperatorProcess:
    """At work, with a job whose first attempt runs."""
    operator = start_operator(namespace)
    api.create(JOBS, job(namespace))
    settled(api, namespace, runs(1), within=SECONDS)
    return operator


def test_a_job_set_deleted_by_hand_is_an_attempt_that_ended(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    """Slow: real controllers and their grace."""
    api.delete(JOB_SETS, namespace, "job-a1", propagationPolicy="Background")
    seen = settled(api, namespace, runs(2), within=SECONDS)
    assert seen["attempts"] == [(1, 2, "Planned"), (2, 2, None)]
    assert seen["jobsets"] == [("job-a2", False)]


def test_a_config_map_deleted_by_hand_comes_back(operator: OperatorProcess, api: Api, namespace: str) -> None:
    """Slow: real controllers."""
    before = api.get(CONFIG_MAPS, namespace, "job-a1")
    api.delete(CONFIG_MAPS, namespace, "job-a1")
    settled(api, namespace, lambda seen: seen["configmaps"] == ["job-a1"], within=SECONDS)
    after = api.get(CONFIG_MAPS, namespace, "job-a1")
    assert (before["metadata"]["uid"] != after["metadata"]["uid"], after["data"]["job.json"]) == (
        True,
        before["data"]["job.json"],
    )
    assert world(api, namespace)["count"] == 1


def test_a_config_map_deleted_while_no_watch_was_open_comes_back(
    api: Api, kubelet: Kubelet, namespace: str, tmp_path: Path
) -> None:
    """Slow: real controllers. The operator has just begun to watch."""
    with behind_proxy(api, tmp_path) as (proxy, start):
        start(namespace)
        api.create(JOBS, job(namespace))
        settled(api, namespace, runs(1), within=SECONDS)
        proxy.expire_watches(lambda: api.delete(CONFIG_MAPS, namespace, "job-a1"))
        settled(api, namespace, lambda seen: seen["configmaps"] == ["job-a1"], within=10.0)


def test_a_network_policy_deleted_by_hand_comes_back(operator: OperatorProcess, api: Api, namespace: str) -> None:
    """Slow: real controllers."""
    api.delete(NETWORK_POLICIES, namespace, "job-network")
    settled(api, namespace, lambda seen: seen["policies"] == ["job-network"], within=SECONDS)


def test_a_wiped_status_is_written_again(operator: OperatorProcess, api: Api, kubelet: Kubelet, namespace: str) -> None:
    """Slow: a whole restart of an attempt first, so that there is something to lose."""
    kubelet.end(pods_of(api, namespace, 1)[1]["metadata"]["name"], 137)
    before = settled(api, namespace, runs(2), within=SECONDS)
    status = api.get(JOBS, namespace, "job")["status"]
    api.merge(JOBS, namespace, "job", {"status": dict.fromkeys(status)}, "status")
    assert settled(api, namespace, runs(2), within=SECONDS) == before
    assert before["attempts"] == [(1, 2, "Infrastructure"), (2, 2, None)]


def test_of_two_edits_in_a_second_the_last_one_holds(operator: OperatorProcess, api: Api, namespace: str) -> None:
    """Slow: one or two whole restarts."""
    for steps in (600, 700):
        api.merge(JOBS, namespace, "job", {"spec": {"trainer": {"numTrainSteps": steps}}})

    def is_there(seen: World) -> bool:
        return len(seen["pods"]) == 2 and seen["attempts"][-1][2] is None and seen["count"] > 1

    seen = settled(api, namespace, is_there, within=SECONDS)
    newest = json.loads(api.get(CONFIG_MAPS, namespace, f"job-a{seen['count']}")["data"]["job.json"])
    assert newest["spec"]["trainer"]["numTrainSteps"] == 700
    assert {cause for _, _, cause in seen["attempts"][:-1]} == {"Requested"}


def test_an_edit_that_is_taken_back_at_once_settles(operator: OperatorProcess, api: Api, namespace: str) -> None:
    """Slow: whole restarts, perhaps. Asked for one host and two again, it runs on two."""
    for hosts in (1, 2):
        api.merge(JOBS, namespace, "job", {"spec": {"compute": {"hosts": hosts}}})

    def is_there(seen: World) -> bool:
        return len(seen["pods"]) == 2 and seen["attempts"][-1][1:] == (2, None)

    settled(api, namespace, is_there, within=SECONDS)


def test_suspended_and_resumed_in_a_second_it_runs(operator: OperatorProcess, api: Api, namespace: str) -> None:
    """Slow: real controllers and their grace."""
    for suspend in (True, False):
        api.merge(JOBS, namespace, "job", {"spec": {"suspend": suspend}})
    settled(api, namespace, lambda seen: len(seen["pods"]) == 2 and seen["attempts"][-1][2] is None, within=SECONDS)


def test_deleted_and_made_anew_it_begins_anew(operator: OperatorProcess, api: Api, namespace: str) -> None:
    """Slow: the former job's objects, of the same names, are collected meanwhile."""
    api.delete(JOBS, namespace, "job")
    api.create(JOBS, job(namespace))
    seen = settled(api, namespace, runs(1), within=SECONDS)
    owner = api.get(JOBS, namespace, "job")["metadata"]["uid"]
    owners = api.get(JOB_SETS, namespace, "job-a1")["metadata"]["ownerReferences"]
    assert (seen["attempts"], owners[0]["uid"]) == ([(1, 2, None)], owner)


@pytest.mark.timeout(400)
def test_an_api_server_that_is_away_for_30_s_holds_nothing_up(
    operator: OperatorProcess, api: Api, kubelet: Kubelet, proxy: Proxy, namespace: str
) -> None:
    """Slow: 30 s of absence, in which a process of the job dies."""
    proxy.go_away()
    kubelet.end(pods_of(api, namespace, 1)[0]["metadata"]["name"], 137)
    time.sleep(30)
    proxy.come_back()
    came_back = time.monotonic()
    seen = settled(api, namespace, runs(2), within=SECONDS)
    assert seen["attempts"] == [(1, 2, "Infrastructure"), (2, 2, None)]
    assert time.monotonic() - came_back < 45
    assert operator.process.poll() is None


@pytest.mark.timeout(400)
def test_what_happened_while_a_watch_expired_is_seen(
    operator: OperatorProcess, api: Api, proxy: Proxy, namespace: str
) -> None:
    """Slow: nobody tells of the deletion but the sweep, which comes a minute after the start."""

    def meanwhile() -> None:
        api.delete(JOB_SETS, namespace, "job-a1", propagationPolicy="Background")
        settled(api, namespace, lambda seen: seen["jobsets"] == [] and seen["pods"] == [], within=SECONDS)

    proxy.expire_watches(meanwhile)
    seen = settled(api, namespace, runs(2), within=2 * SECONDS)
    assert seen["attempts"] == [(1, 2, "Planned"), (2, 2, None)]


def test_it_ends_within_two_seconds_when_it_is_told_to(operator: OperatorProcess) -> None:
    """Slow: needs one at work."""
    assert operator.end() < 2.0
    assert operator.process.returncode == 0
