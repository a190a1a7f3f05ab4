"""Where pods may run."""

from typing import Any

import pytest
from lateen_operator.manifests.capacity_probe import capacity_probe
from lateen_operator.manifests.job_set import job_set
from lateen_operator.manifests.pod import pod_template
from lateen_operator.manifests.scheduling import avoiding
from stored_jobs import GPU, NANO, SMALL, TPU, attempt


def pod_spec(job: dict[str, Any], *overrides: str, avoid: tuple[str, ...] = ()) -> dict[str, Any]:
    return pod_template(attempt(job, *overrides, avoid=avoid))["spec"]


def limits(job: dict[str, Any], *overrides: str) -> dict[str, str]:
    resources = pod_spec(job, *overrides)["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]
    return resources["limits"]


def test_cpu_job_asks_for_no_label():
    assert "nodeSelector" not in pod_spec(NANO)


def test_own_selector_comes_on_top():
    assert pod_spec(SMALL, GPU, "compute.nodeSelector={zone: a}")["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-h100-80gb",
        "zone": "a",
    }


def test_tpu_pod_asks_for_all_chips_of_its_host():
    assert limits(SMALL, TPU) == {"google.com/tpu": "4"}


def test_chips_are_not_devices():
    """A chip of tpu7x is two JAX devices."""
    assert limits(SMALL, "compute={accelerator: tpu7x, topology: 2x2x2}") == {"google.com/tpu": "4"}


def test_gpu_pod_asks_for_the_gpus_of_its_host():
    assert limits(SMALL, GPU, "compute.gpusPerHost=2") == {"nvidia.com/gpu": "2"}


def test_hosts_with_arm_cores_are_tolerated():
    tolerations = pod_spec(SMALL, "compute={accelerator: nvidia-gb200, hosts: 2}")["tolerations"]
    assert {"key": "kubernetes.io/arch", "operator": "Equal", "value": "arm64", "effect": "NoSchedule"} in tolerations


@pytest.mark.parametrize(("timeout", "seconds"), [("1s", 5), ("30s", 30), ("1m500ms", 60)])
def test_absent_node_is_given_up_when_its_peers_give_it_up(timeout: str, seconds: int):
    tolerations = pod_spec(NANO, f"recovery.heartbeatTimeout={timeout}")["tolerations"]
    assert [t["tolerationSeconds"] for t in tolerations] == [seconds, seconds]


@pytest.mark.parametrize(("topology", "exclusive"), [("2x2x1", False), ("2x2x2", True)])
def test_slice_of_several_hosts_has_a_node_pool_for_itself(topology: str, exclusive: bool):
    annotations = job_set(attempt(SMALL, f"compute={{accelerator: tpu-v5p, topology: {topology}}}"))["metadata"][
        "annotations"
    ]
    key = "alpha.jobset.sigs.k8s.io/exclusive-topology"
    assert annotations.get(key) == ("cloud.google.com/gke-nodepool" if exclusive else None)


OWN_AFFINITY = """compute.podTemplate={spec: {affinity: {nodeAffinity: {
  requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [A]}, {}]},
  preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [B]}}]}}}}"""
UNWANTED = [
    {"key": "metadata.name", "operator": "NotIn", "values": ["n1"]},
    {"key": "metadata.name", "operator": "NotIn", "values": ["n2"]},
]


def test_nodes_are_avoided_while_others_can_take_the_pod():
    """A pod that must not go to the only node would wait for ever."""
    affinity = pod_spec(NANO, OWN_AFFINITY, avoid=("n1", "n2"))["affinity"]["nodeAffinity"]
    assert affinity["preferredDuringSchedulingIgnoredDuringExecution"] == [
        {"weight": 1, "preference": {"matchExpressions": ["B"]}},
        {"weight": 100, "preference": {"matchFields": UNWANTED}},
    ]
    assert affinity["requiredDuringSchedulingIgnoredDuringExecution"] == {
        "nodeSelectorTerms": [{"matchExpressions": ["A"]}, {}]
    }


def test_capacity_probes_go_to_no_such_node_in_any_alternative_that_the_job_allows():
    """Capacity on a node that attempts fail on is no reason to grow."""
    affinity = capacity_probe(attempt(NANO, OWN_AFFINITY, avoid=("n1", "n2")), 0)["spec"]["affinity"]["nodeAffinity"]
    assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {"matchExpressions": ["A"], "matchFields": UNWANTED},
        {"matchFields": UNWANTED},
    ]
    assert len(affinity["preferredDuringSchedulingIgnoredDuringExecution"]) == 1


def test_no_host_of_a_slice_is_ruled_out_alone():
    """The first pod of a slice would be placed beside it, and the others nowhere."""
    assert "affinity" not in pod_spec(SMALL, TPU, avoid=("n1",))
    assert "affinity" in pod_spec(SMALL, "compute={accelerator: tpu-v5p, topology: 2x2x1}", avoid=("n1",))


def test_nothing_to_avoid_leaves_the_spec_alone():
    assert avoiding({"a": 1}, ()) == {"a": 1}


def test_queue_gets_the_job_set_suspended():
    manifest = job_set(attempt(SMALL, GPU))
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert manifest["spec"]["suspend"] is True
    assert "suspend" not in job_set(attempt(NANO))["spec"]


@pytest.mark.parametrize(("job", "overrides"), [(NANO, ()), (SMALL, (TPU,)), (SMALL, (GPU,))])
def test_capacity_probe_is_placed_as_a_host_is(job: dict[str, Any], overrides: tuple[str, ...]):
    slots = "containers: [{name: trainer, resources: {limits: {example.org/slot: 1}}}]"
    own = f"compute.podTemplate={{spec: {{schedulerName: other, tolerations: [{{operator: Exists}}], {slots}}}}}"
    host = pod_template(attempt(job, *overrides, own, avoid=("n1",)), strictly=True)["spec"]
    looking = capacity_probe(attempt(job, *overrides, own, avoid=("n1",)), 0)["spec"]
    for field in ("nodeSelector", "affinity", "tolerations", "schedulerName"):
        assert looking.get(field) == host.get(field)
    assert looking["containers"][0]["resources"] == host["containers"][0]["resources"]
    assert looking["containers"][0]["resources"]["limits"]["example.org/slot"] == 1


def test_capacity_probe_pushes_nobody_aside():
    assert "priorityClassName" not in capacity_probe(attempt(NANO, "compute.priorityClass=high"), 0)["spec"]
    assert pod_spec(NANO, "compute.priorityClass=high")["priorityClassName"] == "high"
