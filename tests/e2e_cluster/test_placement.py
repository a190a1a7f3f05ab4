"""Where the scheduler and JobSet put a TPU job's pods. Its nodes exist in the API alone, and nobody runs the pods."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.fake_nodes import TAINT, TOLERATION
from cluster.waiting import wait_until
from lateen_operator.manifests.config_map import config_map
from lateen_operator.manifests.job_set import job_set
from lateen_operator.manifests.scout import scout
from stored_jobs import SMALL, attempt

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

POOLS, HOSTS = ("a", "b", "c"), 2
SLICES = "compute={accelerator: tpu-v5p, topology: 2x2x2, slices: 2, maxSlices: 4}"


def tpu_node(pool: str, host: int) -> dict[str, Any]:
    """A TPU host as GKE labels it, Ready until the node controller misses its kubelet."""
    resources = {"cpu": "64", "memory": "256Gi", "pods": "110", "google.com/tpu": "4"}
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    ready = {"type": "Ready", "status": "True", "reason": "Test", "lastHeartbeatTime": now, "lastTransitionTime": now}
    name = f"tpu-{pool}-{host}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
                "cloud.google.com/gke-tpu-topology": "2x2x2",
                "cloud.google.com/gke-nodepool": f"pool-{pool}",
            },
        },
        "spec": {"taints": [TAINT, {"key": "google.com/tpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {"capacity": resources, "allocatable": resources, "conditions": [ready]},
    }


@pytest.fixture
def tpus(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Three node pools of two hosts, each of which is one slice 2x2x2."""
    nodes = [tpu_node(pool, host) for pool in POOLS for host in range(HOSTS)]
    cluster.kubectl.apply(*nodes)
    yield
    cluster.kubectl("delete", "jobsets", "--all", "-n", namespace, "--wait=false")
    cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
    cluster.kubectl("delete", "node", *(node["metadata"]["name"] for node in nodes))


def placed(cluster: Cluster, namespace: str, selector: str) -> list[dict[str, Any]]:
    """The pods that have a node."""
    pods = cluster.kubectl.get("pods", "-n", namespace, "-l", selector)["items"]
    return [pod for pod in pods if pod["spec"].get("nodeName")]


def test_each_slice_gets_a_node_pool(cluster: Cluster, namespace: str, tpus: None):
    tolerating = f"compute.tolerations=[{{key: {TOLERATION['key']}, operator: Exists, effect: NoSchedule}}]"
    new = attempt(SMALL, SLICES, tolerating, avoid=("tpu-b-0",))
    for manifest in (config_map(new, "[]"), job_set(new)):
        manifest["metadata"]["namespace"] = namespace
        del manifest["metadata"]["ownerReferences"]
        cluster.kubectl.apply(manifest)
    wait_until(
        lambda: len(placed(cluster, namespace, "lateen.dev/attempt=1")) == 4, "all pods to have a node", 20, every=0.5
    )
    hosts: dict[str, set[str]] = {}
    for pod in placed(cluster, namespace, "lateen.dev/attempt=1"):
        index = pod["metadata"]["labels"]["jobset.sigs.k8s.io/job-index"]
        hosts.setdefault(index, set()).add(pod["spec"]["nodeName"])
    whole_pools = [{f"tpu-{pool}-{host}" for host in range(HOSTS)} for pool in POOLS]
    assert sorted(hosts) == ["0", "1"]
    assert all(nodes in whole_pools for nodes in hosts.values())
    assert hosts["0"] != hosts["1"]


def test_scouts_find_as_many_hosts_as_there_are(cluster: Cluster, namespace: str, tpus: None):
    tolerating = f"compute.tolerations=[{{key: {TOLERATION['key']}, operator: Exists, effect: NoSchedule}}]"
    new = attempt(SMALL, SLICES, tolerating, hosts=8)
    for index in range(7):
        manifest = scout(new, index)
        manifest["metadata"]["namespace"] = namespace
        del manifest["metadata"]["ownerReferences"]
        cluster.kubectl.apply(manifest)
    wait_until(
        lambda: len(placed(cluster, namespace, "lateen.dev/scout")) == 6, "six scouts to have a node", 20, every=0.5
    )
    found = {pod["spec"]["nodeName"] for pod in placed(cluster, namespace, "lateen.dev/scout")}
    assert found == {f"tpu-{pool}-{host}" for pool in POOLS for host in range(HOSTS)}
