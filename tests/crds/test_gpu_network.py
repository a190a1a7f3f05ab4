"""Which GPUDirect network a job's hosts use, and what is refused."""

import pytest
from crds.jobs import small
from lateen_api.errors import JobError
from lateen_api.gpu_network import ACCELERATORS
from lateen_api.plan import make_plan

HOSTS = "compute.hosts=2"


def network(*overrides: str) -> str:
    return make_plan(small(*overrides)).network


@pytest.mark.parametrize(
    ("accelerator", "preset"),
    [(name, preset) for preset, names in ACCELERATORS.items() for name in names]
    + [("nvidia-a100-80gb", "none"), ("nvidia-gb200", "none"), ("nvidia-l4", "none")],
)
def test_auto_is_the_network_of_the_accelerators_machine_type(accelerator: str, preset: str):
    assert network(f"compute.accelerator={accelerator}", HOSTS, "compute.network=auto") == preset


def test_nothing_is_added_unasked():
    assert network("compute.accelerator=nvidia-h100-mega-80gb", HOSTS) == "none"


def test_auto_leaves_cpu_and_tpu_jobs_alone():
    assert network("compute.network=auto", HOSTS) == "none"
    tpu = ("compute.accelerator=tpu-v5e", "compute.topology=4x4")
    assert network(*tpu, "compute.network=auto") == "none"


def test_one_host_needs_no_network_unless_it_may_grow():
    h100 = ("compute.accelerator=nvidia-h100-80gb", "compute.network=auto")
    assert network(*h100) == "none"
    assert network(*h100, "compute.maxHosts=2") == "gke-tcpx"


def test_a_part_of_a_host_has_no_network():
    h100 = ("compute.accelerator=nvidia-h100-80gb", HOSTS, "compute.gpusPerHost=4")
    assert network(*h100, "compute.network=auto") == "none"
    with pytest.raises(JobError, match=r"needs all 8 GPUs of a host, and spec\.compute\.gpusPerHost is 4\."):
        network(*h100, "compute.network=gke-tcpx")


def test_the_network_of_another_machine_is_refused():
    with pytest.raises(JobError) as refused:
        network("compute.accelerator=nvidia-h100-80gb", HOSTS, "compute.network=gke-rdma")
    assert str(refused.value) == (
        "spec.compute.network: 'gke-rdma' is for nvidia-h200-141gb or nvidia-b200, and spec.compute.accelerator is "
        "nvidia-h100-80gb. Use auto or none, or that accelerator."
    )
