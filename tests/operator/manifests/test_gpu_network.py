"""Presets of GPU networks as parts of the pods. Whole pods are in the golden files."""

import json

import pytest
from lateen_api.errors import JobError
from lateen_operator.manifests.job_set import job_set
from lateen_operator.resolve import resolve
from stored_jobs import A3_HIGH, A3_MEGA, A3_ULTRA, A4, SMALL, attempt, body

ALL = {"A3 High": A3_HIGH, "A3 Mega": A3_MEGA, "A3 Ultra": A3_ULTRA, "A4": A4}
INTERFACES = "networking.gke.io/interfaces"


def template(*overrides: str):
    [workers] = job_set(attempt(SMALL, *overrides))["spec"]["replicatedJobs"]
    return workers["template"]["spec"]["template"]


def variables(pod) -> dict[str, str]:
    [trainer] = pod["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in trainer["env"] if "value" in entry}


@pytest.mark.parametrize("compute", ALL.values(), ids=ALL)
def test_interfaces_of_nccl_are_those_that_the_pod_has(compute: str):
    pod = template(compute)
    listed = json.loads(pod["metadata"]["annotations"][INTERFACES])
    attached = [entry["interfaceName"] for entry in listed]
    assert attached[0] == "eth0" and len(set(attached)) == len(attached)
    named = {
        interface.partition(":")[0]
        for name, value in variables(pod).items()
        if "IFNAME" in name or "CTRL_DEV" in name or "BINDINGS" in name
        for interface in value.replace(";", ",").split(",")
        if interface.startswith("eth")
    }
    assert named <= set(attached)


@pytest.mark.parametrize("compute", ALL.values(), ids=ALL)
def test_every_mount_has_its_volume_and_every_volume_a_mount(compute: str):
    pod = template(compute)["spec"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
    assert len(volumes) == len(set(volumes)) and set(volumes) == mounted


@pytest.mark.parametrize("compute", ALL.values(), ids=ALL)
def test_the_trainer_keeps_its_user_and_the_pod_its_own_network(compute: str):
    pod = template(compute)["spec"]
    [trainer] = pod["containers"]
    assert pod["securityContext"]["runAsUser"] == 1000
    assert trainer["securityContext"]["readOnlyRootFilesystem"] is True
    assert trainer["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert "hostNetwork" not in pod
    assert all(daemon["restartPolicy"] == "Always" for daemon in pod.get("initContainers", []))


def test_the_job_replaces_variables_networks_and_the_daemons_image():
    pod = template(
        A3_MEGA,
        "compute.env={NCCL_NVLS_ENABLE: '1'}",
        "compute.podTemplate={metadata: {annotations: {networking.gke.io/interfaces: '[]'}},"
        " spec: {initContainers: [{name: tcpxo-daemon, image: daemon:2}]}}",
    )
    assert variables(pod)["NCCL_NVLS_ENABLE"] == "1"
    assert pod["metadata"]["annotations"][INTERFACES] == "[]"
    [daemon] = pod["spec"]["initContainers"]
    assert daemon["image"] == "daemon:2" and daemon["restartPolicy"] == "Always"


def test_machine_types_of_one_network_differ_in_the_tuner_alone():
    first, second = (variables(template(compute)) for compute in (A3_ULTRA, A4))
    assert {name for name in first if first[name] != second[name]} == {"NCCL_TUNER_CONFIG_PATH"}


def test_a_volume_with_the_name_of_a_presets_is_refused():
    volumes = "compute.volumes=[{name: gpudirect-libraries, emptyDir: {}}]"
    with pytest.raises(JobError, match=r"spec\.compute\.volumes: 'gpudirect-libraries' is a name of .* Rename it"):
        resolve(body(SMALL, A3_HIGH, volumes))
