"""What there is of a job in the cluster, without what differs from run to run."""

import time
from collections.abc import Callable
from typing import Any

from e2e_cluster.harness.api import Api, Refused
from e2e_cluster.harness.kubelet import SELECTOR, TOLERATION
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, NETWORK_POLICIES, PODS

World = dict[str, Any]


def job(namespace: str, name: str = "job", **compute: Any) -> dict[str, Any]:
    """A job of two hosts on nodes of test kubelets."""
    return {
        "apiVersion": "lateen.dev/v1alpha1",
        "kind": "LMTrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"type": "gpt2", "hiddenDim": 128, "numHeads": 4, "numLayers": 4, "seqLen": 256},
            "data": {"tokenizer": "bytes", "trainUrls": ["python-stdlib://**/*.py"]},
            "trainer": {"numTrainSteps": 560, "trainBatchSize": 8},
            "checkpoint": {"path": f"gs://runs/{name}"},
            "recovery": {"graceSeconds": 5},
            "compute": {
                "accelerator": "cpu",
                "hosts": 2,
                "minHosts": 1,
                "cpu": "1",
                "memory": "1Gi",
                "tolerations": [TOLERATION],
                "nodeSelector": SELECTOR,
                **compute,
            },
        },
    }


def world(api: Api, namespace: str, name: str = "job") -> World:
    """All there is of a job: ledger, state, and the objects that exist."""
    label = {"labelSelector": f"lateen.dev/job={name}"}
    try:
        status = api.get(JOBS, namespace, name).get("status") or {}
    except Refused:
        status = None
    pods = [pod for pod in api.list(PODS, namespace, **label) if "deletionTimestamp" not in pod["metadata"]]
    return {
        "state": status and status.get("state"),
        "attempts": status
        and [(entry["number"], entry["hosts"], entry.get("failureClass")) for entry in status.get("attempts", ())],
        "count": status and status.get("attemptCount"),
        "budgets": status and status.get("budgets"),
        "jobsets": sorted(
            (one["metadata"]["name"], one["spec"].get("suspend", False))
            for one in api.list(JOB_SETS, namespace, **label)
        ),
        "configmaps": sorted(one["metadata"]["name"] for one in api.list(CONFIG_MAPS, namespace, **label)),
        "policies": sorted(one["metadata"]["name"] for one in api.list(NETWORK_POLICIES, namespace, **label)),
        "pods": sorted((one["metadata"]["name"].rsplit("-", 1)[0], one["status"].get("phase")) for one in pods),
    }


def settled(api: Api, namespace: str, is_there: Callable[[World], bool], *, name: str = "job", within: float) -> World:
    """The world once it is as wanted and has not changed for a second; AssertionError if it does not come to that."""
    deadline = time.monotonic() + within
    last, since = world(api, namespace, name), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.15)
        now = world(api, namespace, name)
        if now != last:
            last, since = now, time.monotonic()
        elif is_there(now) and time.monotonic() - since > 1.0:
            return now
    raise AssertionError(f"the world did not settle within {within} s: {last}")


def pods_of(api: Api, namespace: str, attempt: int, name: str = "job") -> list[dict[str, Any]]:
    """The pods of an attempt, process 0 first."""
    selector = f"lateen.dev/job={name},lateen.dev/attempt={attempt}"
    return sorted(api.list(PODS, namespace, labelSelector=selector), key=lambda pod: pod["metadata"]["name"])
