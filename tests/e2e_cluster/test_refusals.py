"""What a real API server, JobSet and Job controller refuse is told in their own words, and is over with its cause."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2e_cluster.harness.api import Api, Refused
from e2e_cluster.harness.fixtures import api, behind, kubelet, own_namespace, start_operator
from e2e_cluster.harness.world import job
from lateen_operator.cluster.resources import EVENTS, JOB_SETS, JOBS, Resource

__all__ = ["api", "behind", "kubelet", "own_namespace", "start_operator"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

QUOTAS = Resource("", "v1", "resourcequotas")
NAMESPACES = Resource("", "v1", "namespaces")
POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
BINDINGS = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings")
TOLD_WITHIN_SECONDS = 60.0
GOES_ON_WITHIN_SECONDS = 20.0
PODS_GO_ON_WITHIN_SECONDS = 120.0
"""The Job controller's own back-off is up to a minute, and a quota's use is counted again now and then."""


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


@pytest.fixture
def deny(api: Api) -> Iterator[Callable[[str, str, str], Callable[[], None]]]:
    """Denies operations on a namespace's JobSets of which a CEL expression is not true; what it returns lifts that."""
    made: list[str] = []

    def lift(name: str) -> None:
        api.delete(BINDINGS, None, name)
        api.delete(POLICIES, None, name)

    def start(namespace: str, operation: str, unless: str) -> Callable[[], None]:
        name = f"{namespace}-{operation.lower()}"
        made.append(name)
        rules = {
            "apiGroups": ["jobset.x-k8s.io"],
            "apiVersions": ["*"],
            "operations": [operation],
            "resources": ["jobsets"],
        }
        policy = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rules]},
            "validations": [{"expression": unless, "message": "the machines are being serviced"}],
        }
        api.create(POLICIES, {"metadata": {"name": name}, "spec": policy})
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        binding = {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        }
        api.create(BINDINGS, {"metadata": {"name": name}, "spec": binding})
        # The API server compiles policies in its own time.
        until(lambda: _is_denied(api, namespace, operation), 30, lambda: "the policy does not work")
        return lambda: lift(name)

    yield start
    for name in made:
        lift(name)


def _is_denied(api: Api, namespace: str, operation: str) -> bool:
    """Asks without doing it."""
    try:
        if operation == "CREATE":
            body = {
                "apiVersion": "jobset.x-k8s.io/v1alpha2",
                "kind": "JobSet",
                "metadata": {"name": "probe"},
                "spec": {},
            }
            api.call("POST", JOB_SETS.path(namespace, query={"dryRun": "All"}), body)
        else:
            path = JOB_SETS.path(namespace, "job-a1", query={"dryRun": "All"})
            api.call("PATCH", path, {"spec": {"suspend": True}}, "application/merge-patch+json")
    except Refused as error:
        return "being serviced" in str(error)
    return False


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


def test_a_policy_that_denies_job_sets_for_a_while(api, own_namespace, kubelet, start_operator, deny):
    """Nothing of it lives in the operator's memory: the job goes on by itself once the policy is lifted."""
    namespace = own_namespace()
    lift = deny(namespace, "CREATE", "false")
    start_operator(namespace)
    api.create(JOBS, job(namespace))
    took = until(lambda: blocked(api, namespace)[0] == "True", TOLD_WITHIN_SECONDS, lambda: blocked(api, namespace))
    _, reason, message = blocked(api, namespace)
    assert (reason, "the machines are being serviced" in message) == ("PolicyDenied", True), message
    time.sleep(15)
    status = api.get(JOBS, namespace, "job")["status"]
    assert (status["state"], status["attemptCount"], told(api, namespace, reason)) == ("Blocked", 0, 1)
    lift()
    again = until(
        lambda: blocked(api, namespace)[0] == "False", GOES_ON_WITHIN_SECONDS, lambda: blocked(api, namespace)
    )
    print(f"told after {took:.1f} s, went on {again:.1f} s after the policy")
    assert api.get(JOBS, namespace, "job")["status"]["attemptCount"] == 1


def test_a_policy_that_denies_to_stop_an_attempt(api, own_namespace, kubelet, start_operator, deny):
    namespace = own_namespace()
    start_operator(namespace)
    api.create(JOBS, job(namespace))
    until(lambda: api.list(JOB_SETS, namespace) != [], 30, lambda: "no JobSet")
    lift = deny(namespace, "UPDATE", "!has(object.spec.suspend) || !object.spec.suspend")
    api.merge(JOBS, namespace, "job", {"spec": {"suspend": True}})
    took = until(lambda: blocked(api, namespace)[0] == "True", TOLD_WITHIN_SECONDS, lambda: blocked(api, namespace))
    assert blocked(api, namespace)[1] == "PolicyDenied"
    lift()

    def state() -> str:
        return api.get(JOBS, namespace, "job")["status"]["state"]

    again = until(lambda: state() == "Suspended", GOES_ON_WITHIN_SECONDS, state)
    print(f"told after {took:.1f} s, suspended {again:.1f} s after the policy")
    assert blocked(api, namespace)[0] == "False"


def test_a_job_set_of_somebody_else_has_the_name(api, own_namespace, kubelet, start_operator):
    namespace = own_namespace()
    template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
    spec = {"suspend": True, "replicatedJobs": [{"name": "workers", "template": {"spec": {"template": template}}}]}
    foreign = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "spec": spec}
    api.create(JOB_SETS, foreign | {"metadata": {"name": "job-a1", "namespace": namespace}})
    start_operator(namespace)
    api.create(JOBS, job(namespace))
    took = until(lambda: blocked(api, namespace)[0] == "True", TOLD_WITHIN_SECONDS, lambda: blocked(api, namespace))
    _, reason, message = blocked(api, namespace)
    assert (reason, "job-a1" in message) == ("NameTaken", True), message
    api.delete(JOB_SETS, namespace, "job-a1")
    again = until(
        lambda: blocked(api, namespace)[0] == "False", GOES_ON_WITHIN_SECONDS, lambda: blocked(api, namespace)
    )
    print(f"told after {took:.1f} s, went on {again:.1f} s after it was deleted")
    owner = api.get(JOB_SETS, namespace, "job-a1")["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("LMTrainingJob", "job")
