"""Fake nodes for a bench's jobs, and namespaces that are gone when the next thing is measured."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from e2e_cluster.harness.api import Api, Refused
from e2e_cluster.harness.fixtures import NAMESPACES
from e2e_cluster.harness.kubelet import NODES
from e2e_cluster.harness.world import job
from lateen_operator.cluster.resources import JOBS, PODS, Resource

STAGES = Resource("kwok.x-k8s.io", "v1alpha1", "stages")
FAKE = {"kwok.x-k8s.io/node": "fake"}
TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists"}
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_LONGEST_SECONDS = 900.0


def node(name: str) -> dict[str, Any]:
    resources = {"cpu": "10000", "memory": "10000Gi", "pods": "1000"}
    return {
        "metadata": {"name": name, "annotations": FAKE, "labels": {"kubernetes.io/hostname": name, **FAKE}},
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": resources, "allocatable": resources},
    }


def fake_job(namespace: str, name: str, hosts: int) -> dict[str, Any]:
    wanted = job(namespace, name, hosts=hosts, minHosts=1, tolerations=[TOLERATION], nodeSelector=FAKE)
    wanted["spec"]["trainer"]["trainBatchSize"] = max(16, 2 * hosts)
    return wanted


@contextlib.contextmanager
def fleet(api: Api, namespace: str, pods: int) -> Iterator[None]:
    """Nodes for so many pods, on which nothing ends by itself, and the bench's namespace."""
    nodes = [f"{namespace}-{number}" for number in range(math.ceil(pods / 1000) + 1)]
    stage = None
    with contextlib.suppress(Refused):
        stage = api.call("GET", STAGES.path(name="pod-complete"))
    api.delete(STAGES, None, "pod-complete")
    for name in nodes:
        api.create(NODES, node(name))
    try:
        with temporary_namespace(api, namespace):
            yield
    finally:
        for name in nodes:
            api.delete(NODES, None, name)
        if stage is not None:
            kept = {key: stage["metadata"][key] for key in ("name", "labels") if key in stage["metadata"]}
            api.create(STAGES, {**stage, "metadata": kept})


@contextlib.contextmanager
def temporary_namespace(api: Api, name: str) -> Iterator[str]:
    """Gone, with all that is in it, before what comes next is measured."""
    api.create(NAMESPACES, {"metadata": {"name": name}})
    try:
        yield name
    finally:
        # The jobs first: with a namespace all goes at once, and kwok never says of a pod that it has ended, for which
        # the Job controller would then wait.
        for one in api.list(JOBS, name):
            api.delete(JOBS, name, one["metadata"]["name"])
        wait("deletion", lambda: count(api, PODS, name) == 0, every=2)
        api.delete(NAMESPACES, None, name)
        wait("deletion", lambda: not is_there(api, name))


def is_there(api: Api, namespace: str) -> bool:
    try:
        api.call("GET", NAMESPACES.path(name=namespace))
    except Refused as error:
        if error.status == 404:
            return False
        raise
    return True


def wait(what: str, is_there: Callable[[], bool], every: float = 0.5) -> None:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not is_there():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {_LONGEST_SECONDS:.0f} s")
        time.sleep(every)


def looks_every(jobs: int) -> float:
    """Seconds between two looks at so many jobs: a look costs the API server more the more there are."""
    return max(0.1, jobs / 500)


def count(api: Api, resource: Resource, namespace: str, **query: str) -> int:
    """Objects in a namespace. Only their metadata are sent, for the machine is busy enough."""
    path = resource.path(namespace, query={"resourceVersion": "0", **query})
    return len(api.call("GET", path, accept=METADATA)["items"] or ())
