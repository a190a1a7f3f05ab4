"""Layouts of elastic mode, which the plan refuses as a whole as long as the trainer cannot do it."""

import pytest
from crds.jobs import nano
from lateen_api.errors import JobError
from lateen_api.plan.fleet import read_fleet
from lateen_api.plan.layout import Planner
from lateen_api.precision import Precision


def planner(*overrides: str) -> Planner:
    spec = nano("trainer.reproducibility=elastic", *overrides).spec
    return Planner(spec, read_fleet(spec.compute, hosts=None, cores=4), Precision("float32", "float32"), 257)


def test_lanes_serve_the_largest_number_of_hosts_and_stay_the_same_on_fewer():
    elastic = planner("compute={hosts: 2, minHosts: 1, maxHosts: 4}")
    assert [(elastic.lay_out(hosts).lanes, elastic.lay_out(hosts).microbatch) for hosts in (1, 2, 4)] == [(32, 1)] * 3


def test_lanes_are_shared_out_among_the_devices():
    layout = planner("compute.maxHosts=2").lay_out(1)
    assert (layout.lanes, layout.microbatch, layout.mesh.data, layout.accumulation_steps) == (16, 2, 4, 4)


def test_hosts_that_make_no_power_of_two_are_left_out():
    assert planner("trainer.trainBatchSize=96", "compute={hosts: 2, minHosts: 1, maxHosts: 4}").host_counts() == [
        1,
        2,
        4,
    ]


def test_devices_that_are_no_power_of_two_are_refused():
    with pytest.raises(JobError) as caught:
        planner("trainer.trainBatchSize=96", "compute.devicesPerHost=3").lay_out(1)
    assert str(caught.value) == (
        "spec.trainer.reproducibility: elastic needs a power of two of devices along the data axis, not 3. "
        "Use hosts that make 2 or 4, or fast."
    )
