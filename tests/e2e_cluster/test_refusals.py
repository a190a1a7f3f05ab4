"""What a real API server, JobSet and Job controller refuse is told in their own words, and is over with its cause."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.fixtures import api, behind, kubelet, own_namespace, start_operator
from e2e_cluster.harness.world import job
from lateen_operator.cluster.resources import EVENTS, JOBS, Resource

__all__ = ["api", "behind", "kubelet", "own_namespace", "start_operator"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

QUOTAS = Resource("", "v1", "resourcequotas")
NAMESPACES = Resource("", "v1", "namespaces")
TOLD_WITHIN_SECONDS = 60.0
GOES_ON_WITHIN_SECONDS = 20.0
PODS_GO_ON_WITHIN_SECONDS = 120.0
"""The Job controller's own back-off is up to a minute, and a quota's use is counted anew now and then."""


def blocked(api: Api, namespace: str) -> tuple[str, str, str]:
    status = api.get(JOBS, namespace, "job").get("status") or {}
    found = [one for one in status.get("conditions", ()) if one["type"] == "Blocked"]
    return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else ("", "", "")


def until(holds: Callable[[], bool], within: float, seen: Callable[[], Any]) -> float:
    """Waits; returns the seconds that it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < within, f"not within {within} s: {seen()}"
        time.sleep(0.2)
    return time.monotonic() - started


def quota(namespace: str, **hard: str) -> dict[str, Any]:
    return {"metadata": {"name": "none", "namespace": namespace}, "spec": {"hard": hard}}


def told(api: Api, namespace: str, reason: str) -> int:
    events = api.list(EVENTS, namespace, fieldSelector="involvedObject.kind=LMTrainingJob")
    return sum(one["reason"] == reason for one in events)


def test_a_quota_without_job_sets(api, kubelet, own_namespace, start_operator):
    namespace = own_namespace()
    api.create(QUOTAS, quota(namespace, **{"count/jobsets.jobset.x-k8s.io": "0"}))
    until(lambda: "status" in api.get(QUOTAS, namespace, "none"), 30, lambda: "the quota is not counted")
    start_operator(namespace)
    api.create(JOBS, job(namespace))
    took = until(lambda: blocked(api, namespace)[0] == "True", TOLD_WITHIN_SECONDS, lambda: blocked(api, namespace))
    _, reason, message = blocked(api, namespace)
    assert (reason, "exceeded quota: none" in message) == ("QuotaExceeded", True), message
    time.sleep(15)
    status = api.get(JOBS, namespace, "job")["status"]
    assert (status["state"], status["attemptCount"], told(api, namespace, reason)) == ("Blocked", 0, 1)
    api.delete(QUOTAS, namespace, "none")
    again = until(lambda: blocked(api, namespace)[0] == "False", GOES_ON_WITHIN_SECONDS, lambda: status)
    print(f"told after {took:.1f} s, went on {again:.1f} s after the quota")
    assert api.get(JOBS, namespace, "job")["status"]["attemptCount"] == 1


@pytest.mark.parametrize("what", ["quota", "pod security"])
def test_pods_that_are_refused(api, kubelet, own_namespace, start_operator, what):
    namespace = own_namespace()
    compute: dict[str, Any] = {}
    if what == "quota":
        api.create(QUOTAS, quota(namespace, pods="0"))
        until(lambda: "status" in api.get(QUOTAS, namespace, "none"), 30, lambda: "the quota is not counted")
        words, reason = "exceeded quota: none", "QuotaExceeded"
    else:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        api.merge(NAMESPACES, None, namespace, {"metadata": {"labels": labels}})
        compute["volumes"] = [{"name": "host", "hostPath": {"path": "/tmp"}}]
        words, reason = "violates PodSecurity", "PodSecurity"
    start_operator(namespace)
    api.create(JOBS, job(namespace, **compute))
    took = until(lambda: blocked(api, namespace)[0] == "True", TOLD_WITHIN_SECONDS, lambda: blocked(api, namespace))
    status, message = api.get(JOBS, namespace, "job")["status"], blocked(api, namespace)[2]
    assert (blocked(api, namespace)[1], words in message) == (reason, True), message
    assert (status["state"], status["attemptCount"], told(api, namespace, reason)) == ("Blocked", 1, 1)
    if what == "quota":
        api.delete(QUOTAS, namespace, "none")
    else:
        labels = {"pod-security.kubernetes.io/enforce": None}
        api.merge(NAMESPACES, None, namespace, {"metadata": {"labels": labels}})
    again = until(lambda: blocked(api, namespace)[0] == "False", PODS_GO_ON_WITHIN_SECONDS, lambda: status)
    print(f"told after {took:.1f} s, went on {again:.1f} s after it was allowed")
    assert api.get(JOBS, namespace, "job")["status"]["attemptCount"] == 1
