"""The cluster is one: nodes, names, storage, capacity, the API from inside, and the death of a node."""

from typing import Any

import pytest

from cluster import fake_nodes
from cluster.cluster import Cluster
from cluster.failure import ClusterError
from cluster.pods import jobset, pod

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def run_pod(cluster: Cluster, namespace: str, name: str, script: str, **spec: Any) -> str:
    """What a pod prints that runs to success."""
    cluster.kubectl.apply(pod(name, namespace, script, **spec))
    cluster.kubectl("wait", f"pod/{name}", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    return cluster.kubectl("logs", name, "-n", namespace)


def test_all_nodes_are_ready(cluster: Cluster):
    assert len(cluster.nodes) > 1
    assert all(cluster.is_ready(name) for name in cluster.nodes)


def test_the_crd_is_served(cluster: Cluster):
    assert cluster.kubectl.get("lmtrainingjobs", "-A")["kind"] == "List"


def test_the_pods_of_a_jobset_on_two_nodes_reach_each_other_by_name(cluster: Cluster, namespace: str):
    """Each pod serves its index until the other has fetched it: names, routes between nodes and JobSet in one."""
    script = """
    me=$JOB_COMPLETION_INDEX; other=$((1 - me)); peer=pair-workers-0-$other.pair
    echo $me > /tmp/index; httpd -p 8080 -h /tmp
    until got=$(wget -qO - http://$peer.$NAMESPACE.svc.cluster.local:8080/index 2>/dev/null); do sleep 0.2; done
    echo "$me saw $got"; touch /shared/$me
    until [ -e /shared/$other ]; do sleep 0.2; done
    """
    script = script.replace("$NAMESPACE", namespace)
    cluster.kubectl.apply(jobset("pair", namespace, script, cluster.shared_folder(namespace)))
    cluster.kubectl("wait", "jobset/pair", "-n", namespace, "--for=condition=Completed", "--timeout=60s")
    pods = cluster.kubectl.get("pods", "-n", namespace)["items"]
    said = {cluster.kubectl("logs", pod["metadata"]["name"], "-n", namespace).strip() for pod in pods}
    assert said == {"0 saw 1", "1 saw 0"}
    assert {pod["spec"]["nodeName"] for pod in pods} <= set(cluster.nodes)
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2


def test_a_shared_folder_is_the_same_on_every_node_and_here(cluster: Cluster, namespace: str):
    folder = cluster.shared_folder(namespace)
    for name in cluster.nodes:
        run_pod(cluster, namespace, name, f"echo {name} >> /shared/file", folder=folder, nodeName=name)
    assert (folder / "file").read_text().split() == cluster.nodes


def test_a_pod_reaches_the_api_server_by_its_service(cluster: Cluster, namespace: str):
    said = run_pod(
        cluster, namespace, "asks", "nc -w 5 kubernetes.default.svc.cluster.local 443 < /dev/null && echo reached"
    )
    assert said == "reached\n"


def test_no_pod_goes_to_a_cordoned_node(cluster: Cluster, namespace: str):
    cluster.kubectl("cordon", cluster.nodes[0])
    run_pod(cluster, namespace, "elsewhere", "true")
    placed = cluster.kubectl.get("pod", "elsewhere", "-n", namespace)["spec"]["nodeName"]
    assert placed != cluster.nodes[0]


def test_a_test_decides_how_much_fits_on_a_node(cluster: Cluster, namespace: str):
    cluster.set_capacity(cluster.nodes[1], "lateen.dev/test-slot", 1)
    made = pod("slotted", namespace, "true")
    made["spec"]["containers"][0]["resources"] = {"limits": {"lateen.dev/test-slot": "1"}}
    cluster.kubectl.apply(made)
    where = ("pod/slotted", "-n", namespace)
    cluster.kubectl("wait", *where, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert cluster.kubectl.get(*where)["spec"]["nodeName"] == cluster.nodes[1]


def test_pods_on_a_fake_node_complete(cluster: Cluster, namespace: str):
    """Hundreds of hosts are tried this way."""
    labels = {"cloud.google.com/gke-tpu-topology": "2x2"}
    cluster.add_fake_node("fake-tpu", labels, {"google.com/tpu": "4"})
    try:
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "tpu", "namespace": namespace},
            "spec": {
                "template": pod("", "", "", nodeSelector=labels, tolerations=[fake_nodes.TOLERATION]) | {"metadata": {}}
            },
        }
        del job["spec"]["template"]["kind"], job["spec"]["template"]["apiVersion"]
        cluster.kubectl.apply(job)
        cluster.kubectl("wait", "job/tpu", "-n", namespace, "--for=condition=Complete", "--timeout=30s")
    finally:
        cluster.kubectl("delete", "node", "fake-tpu")


def test_a_killed_node_is_not_ready_until_it_is_started(cluster: Cluster, namespace: str):
    """A minute, of which Kubernetes gives a silent node 20 s: what a job meets when its machine is lost."""
    folder, node = cluster.shared_folder(namespace), cluster.nodes[1]
    lost = pod("lost", namespace, "while true; do date +%s > /shared/alive; sleep 0.2; done", folder, nodeName=node)
    cluster.kubectl.apply(lost)
    cluster.kubectl("wait", "pod/lost", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
    cluster.kill_node(node)
    last = (folder / "alive").stat().st_mtime
    cluster.wait_for_nodes([node], ready=False, seconds=60)
    assert (folder / "alive").stat().st_mtime == last
    cluster.start_node(node)
    cluster.kubectl("wait", "pod/lost", "-n", namespace, "--for=jsonpath={.status.phase}=Failed", "--timeout=60s")
    assert run_pod(cluster, namespace, "after", "echo well", nodeName=node) == "well\n"


def test_an_unknown_node_is_named(cluster: Cluster):
    names = ", ".join(cluster.nodes)
    with pytest.raises(ClusterError, match=rf"there is no node called 'node-9'; there are {names}"):
        cluster.kill_node("node-9")
