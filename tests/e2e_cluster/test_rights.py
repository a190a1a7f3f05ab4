"""The chart's rights are least: of each, taken away alone, the API server refuses something that the operator does.

The operator runs under a service account that has the chart's rules but for one verb of one resource.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from charts.helm import template
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.fixtures import api, kubelet, own_namespace
from e2e_cluster.harness.kubelet import Kubelet
from e2e_cluster.harness.operator_process import OperatorProcess
from e2e_cluster.harness.proxy import Proxy
from e2e_cluster.harness.world import job, pods_of
from lateen_operator.cluster.resources import CONFIG_MAPS, EVENTS, JOB_SETS, JOBS, NETWORK_POLICIES, Resource

__all__ = ["api", "kubelet", "own_namespace"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
ACCOUNTS = Resource("", "v1", "serviceaccounts")
QUOTAS = Resource("", "v1", "resourcequotas")
WITHIN_SECONDS = 60.0
Rules = list[dict[str, Any]]


class Scene:
    """An operator with some rights in a namespace of its own, and what the API server refuses it."""

    def __init__(self, api: Api, kubelet: Kubelet, namespace: str, folder: Path):
        self.api, self.kubelet, self.namespace = api, kubelet, namespace
        self.folder = folder
        self.proxy: Proxy | None = None
        self.operator: OperatorProcess | None = None

    def start(self, rules: Rules) -> None:
        """Starts the operator with these rights; without one that it cannot begin without, it ends by itself."""
        self.api.create(ACCOUNTS, {"metadata": {"name": "operator", "namespace": self.namespace}})
        metadata = {"name": "operator", "namespace": self.namespace}
        self.api.create(ROLES, {"metadata": metadata, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"}
        subject = {"kind": "ServiceAccount", **metadata}
        self.api.create(BINDINGS, {"metadata": metadata, "roleRef": role, "subjects": [subject]})
        self.proxy = Proxy(self.api.as_service_account(self.namespace, "operator"))
        kubeconfig = self.proxy.kubeconfig(self.folder / "kubeconfig")
        with contextlib.suppress(AssertionError):
            self.operator = OperatorProcess(kubeconfig, self.namespace, self.folder / "log")

    def close(self) -> None:
        if self.operator is not None:
            self.operator.close()
        if self.proxy is not None:
            self.proxy.stop()

    def apply(self, **spec: Any) -> None:
        """A job, whose spec has these fields besides."""
        body = job(self.namespace, **spec.pop("compute", {}))
        self.api.create(JOBS, {**body, "spec": {**body["spec"], **spec}})

    def is_refused(self, verb: str, resource: str) -> bool:
        """Has the API server refused that?"""
        name, _, subresource = resource.partition("/")
        told = f'cannot {verb} resource \\"{name}{"/" + subresource if subresource else ""}\\"'
        return self.proxy is not None and any(told in text for text in self.proxy.forbidden)

    def wait(self, holds: Callable[[], Any]) -> None:
        """Returns when it holds, or when the API server has refused something: the scene has shown what it can."""
        deadline = time.monotonic() + WITHIN_SECONDS
        assert self.proxy is not None
        while not self.proxy.forbidden and not holds():
            assert time.monotonic() < deadline, f"nothing came of it:\n{(self.folder / 'log').read_text()[-3000:]}"
            time.sleep(0.1)

    def runs(self, attempt: int = 1, hosts: int = 2) -> Callable[[], bool]:
        """Do all pods of the attempt run?"""

        def holds() -> bool:
            pods = pods_of(self.api, self.namespace, attempt)
            return len(pods) == hosts and all(pod["status"].get("phase") == "Running" for pod in pods)

        return holds

    def seen(self, resource: Resource, name: str) -> Callable[[], bool]:
        return lambda: name in [one["metadata"]["name"] for one in self.api.list(resource, self.namespace)]

    def state(self) -> str:
        return (self.api.get(JOBS, self.namespace, "job").get("status") or {}).get("state", "")

    def end_pods(self, attempt: int, exit_code: int) -> None:
        """All processes of the attempt exit with this code."""
        for pod in pods_of(self.api, self.namespace, attempt):
            self.kubelet.end(pod["metadata"]["name"], exit_code)


def starts(scene: Scene) -> None:
    """Lists and watches everything."""
    scene.wait(lambda: scene.proxy is not None and scene.proxy.watches == len(_LISTED))


def trains(scene: Scene) -> None:
    """An attempt is started, and told of."""
    scene.apply()
    scene.wait(scene.runs())
    scene.wait(lambda: scene.state() == "Starting")
    about = "involvedObject.kind=LMTrainingJob"
    scene.wait(lambda: scene.api.list(EVENTS, scene.namespace, fieldSelector=about))


def is_suspended(scene: Scene) -> None:
    scene.apply()
    scene.wait(scene.runs())
    scene.api.merge(JOBS, scene.namespace, "job", {"spec": {"suspend": True}})
    scene.wait(lambda: scene.state() == "Suspended")


def fails_once(scene: Scene) -> None:
    """A second attempt is started, and what the first one had is deleted."""
    scene.apply()
    scene.wait(scene.runs())
    scene.end_pods(1, 137)
    scene.wait(scene.runs(attempt=2))
    scene.wait(lambda: not scene.seen(JOB_SETS, "job-a1")() and not scene.seen(CONFIG_MAPS, "job-a1")())


def expires(scene: Scene) -> None:
    scene.apply(ttlAfterFinished="1s", compute={"hosts": 1})
    scene.wait(scene.runs(hosts=1))
    scene.end_pods(1, 0)
    scene.wait(lambda: not scene.api.list(JOBS, scene.namespace))


def grows(scene: Scene) -> None:
    """A capacity probe finds room for a second host, and is deleted before the attempt of two hosts."""
    scene.apply(compute={"hosts": 1, "maxHosts": 2, "resizeAfter": "1m"})
    scene.wait(scene.runs(hosts=1))
    scene.wait(scene.runs(attempt=2))


def grows_with_a_conflict(scene: Scene) -> None:
    """The probe changes while it is deleted: is it still there?"""
    assert scene.proxy is not None
    scene.proxy.refuse(1, 409, of=r"^DELETE .*/pods/")
    grows(scene)


def changes_meanwhile(scene: Scene) -> None:
    """The job changes while its status is written: how is it now?"""
    assert scene.proxy is not None
    scene.proxy.refuse(1, 409, of=r"^PATCH .*/status$")
    trains(scene)


def finds_its_name_taken(resource: Resource, name: str, **fields: Any) -> Callable[[Scene], None]:
    """An object of somebody else has a name that the job needs: whose is it?"""

    def scenario(scene: Scene) -> None:
        scene.api.create(resource, {"metadata": {"name": name, "namespace": scene.namespace}, **fields})
        scene.apply()
        scene.wait(lambda: scene.state() == "Blocked")

    return scenario


def has_no_pods(scene: Scene) -> None:
    """A quota forbids pods: the events say so, and are asked after 10 s."""
    scene.api.create(
        QUOTAS, {"metadata": {"name": "none", "namespace": scene.namespace}, "spec": {"hard": {"pods": "0"}}}
    )
    scene.wait(lambda: "status" in scene.api.get(QUOTAS, scene.namespace, "none"))
    scene.apply()
    scene.wait(lambda: scene.state() == "Blocked")


def waits_in_a_queue(scene: Scene) -> None:
    """No Kueue looks after it, and that is said."""
    scene.apply(compute={"queue": "none"})
    conditions = lambda: scene.api.get(JOBS, scene.namespace, "job").get("status", {}).get("conditions", [])  # noqa: E731
    scene.wait(lambda: "QueueNotServed" in [of["reason"] for of in conditions()])


_TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
_JOB_SET_SPEC = {
    "suspend": True,
    "replicatedJobs": [{"name": "workers", "template": {"spec": {"template": _TEMPLATE}}}],
}
_LISTED = ("lmtrainingjobs", "jobsets", "pods", "configmaps", "networkpolicies")
_POLICY_SPEC = {"podSelector": {}}
NEEDED_WHEN_IT: dict[tuple[str, str], Callable[[Scene], None]] = {
    **{(resource, verb): starts for resource in _LISTED for verb in ("list", "watch")},
    ("lmtrainingjobs", "get"): changes_meanwhile,
    ("lmtrainingjobs", "delete"): expires,
    ("lmtrainingjobs/status", "patch"): trains,
    ("jobsets", "get"): finds_its_name_taken(
        JOB_SETS, "job-a1", apiVersion=JOB_SETS.api_version, kind="JobSet", spec=_JOB_SET_SPEC
    ),
    ("jobsets", "create"): trains,
    ("jobsets", "patch"): is_suspended,
    ("jobsets", "delete"): fails_once,
    ("pods", "get"): grows_with_a_conflict,
    ("pods", "create"): grows,
    ("pods", "delete"): grows,
    ("configmaps", "get"): finds_its_name_taken(CONFIG_MAPS, "job-a1"),
    ("configmaps", "create"): trains,
    ("configmaps", "delete"): fails_once,
    ("networkpolicies", "get"): finds_its_name_taken(NETWORK_POLICIES, "job-network", spec=_POLICY_SPEC),
    ("networkpolicies", "create"): trains,
    ("events", "create"): trains,
    ("events", "list"): has_no_pods,
    ("workloads", "list"): waits_in_a_queue,
}
"""What shows that a right is needed."""


@pytest.fixture
def scene(api: Api, kubelet: Kubelet, own_namespace: Callable[[], str], tmp_path: Path):
    scene = Scene(api, kubelet, own_namespace(), tmp_path)
    yield scene
    scene.close()


def rules(namespace: str, without: tuple[str, str] | None = None) -> Rules:
    """The chart's rules for a namespace, but for this resource and verb."""
    [role] = [of for of in template(values={"namespaces": [namespace]}) if of["kind"] == "Role"]
    found = []
    for rule in role["rules"]:
        for resource in rule["resources"]:
            verbs = [verb for verb in rule["verbs"] if (resource, verb) != without]
            if verbs:
                found.append({"apiGroups": rule["apiGroups"], "resources": [resource], "verbs": verbs})
    return found


def test_every_right_of_the_chart_has_a_scenario():
    given = {(rule["resources"][0], verb) for rule in rules("any") for verb in rule["verbs"]}
    assert NEEDED_WHEN_IT.keys() == given


@pytest.mark.parametrize("right", NEEDED_WHEN_IT, ids="-".join)
def test_without_a_right_the_operator_is_refused_just_that(scene: Scene, right: tuple[str, str]):
    """Slow: an operator of its own per right, and real controllers."""
    resource, verb = right
    scene.start(rules(scene.namespace, without=right))
    NEEDED_WHEN_IT[right](scene)
    assert scene.is_refused(verb, resource), scene.proxy and scene.proxy.forbidden
    assert scene.proxy is not None
    assert all(f"cannot {verb} " in text for text in scene.proxy.forbidden)


@pytest.mark.parametrize(
    "scenario",
    [starts, trains, is_suspended, fails_once, expires, grows_with_a_conflict, has_no_pods, waits_in_a_queue],
)
def test_with_all_rights_nothing_is_refused(scene: Scene, scenario: Callable[[Scene], None]):
    """Slow: the same scenarios to their end."""
    scene.start(rules(scene.namespace))
    scenario(scene)
    assert scene.proxy is not None
    assert not [text for text in scene.proxy.forbidden if "cannot" in text]
