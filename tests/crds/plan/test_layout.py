"""Layouts of elastic mode: lanes, devices and threads that follow from the job alone."""

import pytest
from crds.jobs import nano, small
from lateen_api.errors import JobError
from lateen_api.plan import make_plan
from lateen_api.plan.fleet import read_fleet
from lateen_api.plan.layout import Planner
from lateen_api.precision import Precision


def planner(*overrides: str, cores: int = 4) -> Planner:
    spec = nano(*overrides).spec
    return Planner(spec, read_fleet(spec.compute, hosts=None, cores=cores), Precision("float32", "float32"), 257)


def test_lanes_serve_the_largest_number_of_hosts_and_stay_the_same_on_fewer():
    elastic = planner("compute={hosts: 2, minHosts: 1, maxHosts: 4, cpu: 4}")
    assert [(elastic.lay_out(hosts).lanes, elastic.lay_out(hosts).microbatch) for hosts in (1, 2, 4)] == [(32, 1)] * 3


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_lanes_and_threads_do_not_depend_on_the_machine(cores: int):
    elastic = planner(cores=cores)
    assert (elastic.lanes, elastic.cpu_threads()) == (16, 2)


def test_lanes_are_shared_out_among_the_devices():
    layout = planner("compute={maxHosts: 2, cpu: 4}").lay_out(1)
    assert (layout.lanes, layout.microbatch, layout.mesh.data, layout.accumulation_steps) == (16, 2, 4, 4)


def test_a_cpu_job_has_lanes_for_more_hosts_than_it_asks_for():
    assert [make_plan(nano(), hosts=hosts).mesh.data for hosts in (1, 2, 4)] == [2, 4, 8]


def test_an_accelerator_has_the_lanes_that_its_devices_need():
    assert make_plan(small("compute={accelerator: nvidia-h100-80gb, gpusPerHost: 8, maxHosts: 4}")).lanes == 64


def test_fewer_devices_are_used_where_the_batch_has_few_lanes():
    plan = make_plan(nano("trainer.trainBatchSize=6"))
    assert (plan.lanes, plan.devices, plan.microbatch, plan.accumulation_steps) == (2, 1, 3, 2)


def test_a_batch_of_one_sequence_is_a_single_lane_on_one_device():
    plan = make_plan(nano("trainer.trainBatchSize=1", "compute={maxHosts: 4}"))
    assert (plan.lanes, plan.devices, plan.accumulation_steps, plan.host_counts) == (1, 1, 1, [1])
    assert plan.warnings == [
        "The batch of 1 is a single lane: the job can run on one device only. An even spec.trainer.trainBatchSize "
        "could be shared out."
    ]


def test_threads_are_the_cores_that_the_pod_asks_for():
    assert planner("compute.cpu=8").cpu_threads() == 8
    assert planner("compute.devicesPerHost=4").cpu_threads() == 4
    assert planner("trainer.reproducibility=fast").cpu_threads() is None


def test_cores_that_are_not_used_are_told():
    assert make_plan(nano(), cores=16).warnings == [
        "2 of the 16 cores of a host are used, since in elastic mode their number shows in the bits of the losses. "
        "Set spec.compute.cpu to 16 to use them all, here and elsewhere."
    ]


def test_hosts_that_make_no_power_of_two_are_left_out():
    elastic = planner("trainer.trainBatchSize=96", "compute={hosts: 2, minHosts: 1, maxHosts: 4}")
    assert elastic.host_counts() == [1, 2, 4]


def test_devices_that_are_no_power_of_two_are_refused():
    with pytest.raises(JobError) as caught:
        planner("trainer.trainBatchSize=96", "compute.devicesPerHost=3").lay_out(1)
    assert str(caught.value) == (
        "spec.trainer.reproducibility: elastic needs a power of two of devices along the data axis, not 3. "
        "Use hosts that make 2 or 4, or fast."
    )
