"""Where the scheduler and JobSet put a job's pods. Its nodes exist in the API alone, and nobody runs the pods."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.fake_nodes import TAINT, TOLERATION
from cluster.waiting import wait_until
from lateen_operator.manifests.capacity_probe import capacity_probe
from lateen_operator.manifests.config_map import config_map
from lateen_operator.manifests.job_set import job_set
from stored_jobs import NANO, SMALL, attempt

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

POOLS, HOSTS = ("a", "b", "c"), 2
SLICES = "compute={accelerator: tpu-v5p, topology: 2x2x2, slices: 2, maxSlices: 4}"


def tpu_node(pool: str, host: int) -> dict[str, Any]:
    """A TPU host as GKE labels it."""
    labels = {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
        "cloud.google.com/gke-tpu-topology": "2x2x2",
        "cloud.google.com/gke-nodepool": f"pool-{pool}",
    }
    resources = {"cpu": "64", "memory": "256Gi", "google.com/tpu": "4"}
    taint = {"key": "google.com/tpu", "value": "present", "effect": "NoSchedule"}
    return node(f"tpu-{pool}-{host}", labels, resources, taint)


def node(name: str, labels: dict[str, str], resources: dict[str, str], *taints: dict[str, str]) -> dict[str, Any]:
    """A node that is Ready until the node controller misses its kubelet."""
    resources = {**resources, "pods": "110"}
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    ready = {"type": "Ready", "status": "True", "reason": "Test", "lastHeartbeatTime": now, "lastTransitionTime": now}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **labels},
        },
        "spec": {"taints": [TAINT, *taints]},
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


def test_capacity_probes_find_as_many_hosts_as_there_are(cluster: Cluster, namespace: str, tpus: None):
    tolerating = f"compute.tolerations=[{{key: {TOLERATION['key']}, operator: Exists, effect: NoSchedule}}]"
    new = attempt(SMALL, SLICES, tolerating, hosts=8)
    for index in range(7):
        manifest = capacity_probe(new, index)
        manifest["metadata"]["namespace"] = namespace
        del manifest["metadata"]["ownerReferences"]
        cluster.kubectl.apply(manifest)
    wait_until(
        lambda: len(placed(cluster, namespace, "lateen.dev/capacity-probe")) == 6,
        "six capacity probes to have a node",
        20,
        every=0.5,
    )
    found = {pod["spec"]["nodeName"] for pod in placed(cluster, namespace, "lateen.dev/capacity-probe")}
    assert found == {f"tpu-{pool}-{host}" for pool in POOLS for host in range(HOSTS)}


@pytest.mark.parametrize(
    ("hosts", "avoid", "expected"),
    [
        (1, ("cpu-0",), {"cpu-1"}),
        (1, ("cpu-1",), {"cpu-0"}),
        (2, ("cpu-0",), {"cpu-0", "cpu-1"}),
        (1, ("cpu-0", "cpu-1"), {"cpu-0", "cpu-1"}),
    ],
    ids=["the other", "the other one", "both are needed", "there is no other"],
)
def test_a_node_is_avoided_while_others_can_take_the_pods(
    cluster: Cluster, namespace: str, hosts: int, avoid: tuple[str, ...], expected: set[str]
):
    nodes = [node(f"cpu-{number}", {"test": namespace}, {"cpu": "2", "memory": "8Gi"}) for number in range(2)]
    cluster.kubectl.apply(*nodes)
    new = attempt(
        NANO,
        f"compute.tolerations=[{{key: {TOLERATION['key']}, operator: Exists, effect: NoSchedule}}]",
        f"compute.nodeSelector={{test: {namespace}}}",
        "compute.volumes=[]",
        "compute.volumeMounts=[]",
        "checkpoint.path=gs://runs/nano",
        hosts=hosts,
        avoid=avoid,
    )
    for manifest in (config_map(new, "[]"), job_set(new)):
        manifest["metadata"]["namespace"] = namespace
        del manifest["metadata"]["ownerReferences"]
        cluster.kubectl.apply(manifest)
    try:
        wait_until(
            lambda: len(placed(cluster, namespace, "lateen.dev/attempt=1")) == hosts, "a node for each", 20, every=0.5
        )
        found = {pod["spec"]["nodeName"] for pod in placed(cluster, namespace, "lateen.dev/attempt=1")}
        assert len(found) == hosts
        assert found <= expected
    finally:
        cluster.kubectl("delete", "jobsets", "--all", "-n", namespace, "--wait=false")
        cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
        cluster.kubectl("delete", "node", *(one["metadata"]["name"] for one in nodes))
