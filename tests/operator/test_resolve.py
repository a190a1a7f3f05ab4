"""From the stored resource to what can run; refusals with their exact lines stand in wrong_in_a_cluster.yaml."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from lateen_api.errors import JobError
from lateen_api.load import parse_job
from lateen_api.plan import make_plan
from lateen_operator.observation import Target
from lateen_operator.resolve import Resolved, digest, lanes_of, read_job, resolve
from stored_jobs import GPU, NANO, SMALL, TPU, body

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nano-kubernetes.yaml"
WRONG = yaml.safe_load(Path(__file__).with_name("wrong_in_a_cluster.yaml").read_text())


def resolved(job: dict[str, Any], *overrides: str, lanes: int | None = None) -> Resolved:
    return resolve(body(job, *overrides), lanes=lanes)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case["what"])
def test_what_cannot_run_in_a_cluster_is_refused_with_this_message(case: dict[str, Any]):
    with pytest.raises(JobError) as caught:
        resolve(body({"nano": NANO, "small": SMALL}[case.get("job", "nano")], *case["set"]))
    assert f"{caught.value}\n" == case["message"]


def test_example_can_run_in_a_cluster():
    example = yaml.safe_load(EXAMPLE.read_text())
    assert resolve(example).target.host_counts == (1, 2)
    assert resolve(example).plan.warnings == []


def test_target_is_what_the_job_asks_for():
    job = resolved(NANO, "ttlAfterFinished=1h30m", "recovery.maxFailures=7")
    assert job.target == Target(
        recovery=job.job.spec.recovery,
        hosts=2,
        host_counts=(1, 2, 4),
        resize_after=60.0,
        steps=560,
        digest=job.digest,
        ttl=5400.0,
    )
    assert job.target.recovery.max_failures == 7


def test_tpu_hosts_are_those_of_its_slices():
    job = resolved(SMALL, TPU)
    assert (job.target.hosts, job.target.host_counts, job.target.resize_after) == (8, (4, 8, 16), None)


def test_pods_read_a_job_that_plans_to_the_same():
    job = resolved(NANO)
    read = parse_job(job.resolved_json, "job.json")
    assert read == job.job
    assert make_plan(read, hosts=2).model_copy(update={"host_counts": []}) == job.plan.model_copy(
        update={"host_counts": []}
    )


def test_devices_of_a_cpu_host_are_written_down():
    assert resolved(NANO, "compute.cpu=4").job.spec.compute.devices_per_host == 4


def test_gpus_of_a_host_are_written_down():
    job = resolved(SMALL, GPU, "compute.gpusPerHost=null")
    assert job.job.spec.compute.gpus_per_host == 8


def test_cache_lies_below_the_checkpoints_by_default():
    assert resolved(NANO).job.spec.data.cache_dir == "/shared/nano/cache"


def test_cache_lies_where_the_job_says():
    assert resolved(NANO, "data.cacheDir=gs://corpus/cache").job.spec.data.cache_dir == "gs://corpus/cache"


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_another_width_is_another_plan_of_the_same_job(hosts: int):
    job = resolved(NANO)
    other = job.at_hosts(hosts)
    assert (other.plan.hosts, other.job.spec.compute.hosts, other.target, other.digest) == (
        hosts, hosts, job.target, job.digest,
    )  # fmt: skip


def test_range_of_hosts_is_made_to_hold_a_width_outside_it():
    compute = resolved(NANO, "compute.minHosts=2").at_hosts(1).job.spec.compute
    assert (compute.min_hosts, compute.hosts, compute.max_hosts) == (1, 1, 4)


def test_other_number_of_slices():
    job = resolved(SMALL, TPU).at_hosts(16)
    assert (job.plan.slices, job.job.spec.compute.slices, job.job.spec.compute.hosts) == (4, 4, 16)
    assert parse_job(job.resolved_json, "job.json") == job.job


def test_width_that_is_impossible_is_refused():
    with pytest.raises(JobError, match=r"^hosts: 6 is not possible: expected whole slices of 4 hosts\. Use 4\.$"):
        resolved(SMALL, TPU).at_hosts(6)


def test_lanes_are_chosen_for_the_most_hosts_and_kept():
    job = resolved(NANO)
    assert (job.plan.lanes, job.at_hosts(1).plan.lanes, job.at_hosts(1).job.spec.trainer.lanes) == (16, 16, 16)
    assert lanes_of(job.resolved_json) == 16


def test_lanes_that_the_job_began_with_are_kept_when_its_range_changes():
    assert resolved(NANO, "compute.maxHosts=8").plan.lanes == 32
    assert resolved(NANO, lanes=32).plan.lanes == 32


def test_hosts_for_which_the_first_lanes_do_not_suffice_are_refused_with_the_reason():
    with pytest.raises(JobError) as caught:
        resolved(NANO, "compute.hosts=16", "compute.maxHosts=16", lanes=16)
    message = str(caught.value)
    assert message.startswith("spec.trainer.lanes: 16 is less than two for each of 16 devices of the data axis")
    assert message.endswith("The job began with 16 lanes, and keeps them so that its losses keep their bits.")


def test_fast_mode_has_no_lanes():
    assert lanes_of(resolved(NANO, "trainer.reproducibility=fast").resolved_json) is None


def test_text_that_is_no_job_has_no_lanes_to_read():
    with pytest.raises(ValueError, match="not a job"):
        lanes_of('{"spec": []}')


def test_notes_of_other_programs_do_not_change_what_pods_read():
    noted = body(NANO, "metadata.annotations={a: b}", "metadata.resourceVersion='18'")
    assert resolve({**noted, "status": {"state": "Training"}}).resolved_json == resolved(NANO).resolved_json


def test_resource_from_a_list_need_not_say_its_kind():
    resource = body(NANO)
    del resource["kind"], resource["apiVersion"]
    assert read_job(resource) == read_job(body(NANO))


@pytest.mark.parametrize(
    "followed",
    [
        "suspend=true", "ttlAfterFinished=1h", "compute.hosts=1", "compute.minHosts=2", "compute.maxHosts=2",
        "compute.resizeAfter=5m", "recovery.maxFailures=0", "recovery.maxPreemptions=0",
        "recovery.maxInfrastructureFailures=0", "recovery.startDeadline=5m",
    ],
)  # fmt: skip
def test_what_is_followed_live_does_not_change_the_digest(followed: str):
    assert resolved(NANO, followed).digest == resolved(NANO).digest


@pytest.mark.parametrize(
    "change",
    [
        "optimizer.learningRate=0.001", "trainer.numTrainSteps=600", "compute.image=other:1", "compute.cpu=3",
        "compute.env={A: b}", "recovery.hangAfter=5m", "recovery.graceSeconds=20", "checkpoint.saveInterval=1m",
        "data.cacheDir=/shared/cache", "compute.podTemplate={spec: {schedulerName: other}}",
    ],
)  # fmt: skip
def test_what_an_attempt_is_built_from_changes_the_digest(change: str):
    assert resolved(NANO, change).digest != resolved(NANO).digest


def test_defaults_that_are_written_out_do_not_change_the_digest():
    written = json.loads(read_job(body(NANO)).model_dump_json(by_alias=True))
    assert digest(read_job(written)) == digest(read_job(body(NANO)))


def test_builders_of_the_caches_are_made_from_the_job_and_from_prepare():
    prepared = resolved(NANO, "data.prepare={hosts: 2}")
    assert prepared.digest == resolved(NANO).digest
    assert resolved(NANO).target.builders is None
    assert prepared.target.builders == resolved(NANO, "data.prepare={hosts: 2}", "compute.hosts=1").target.builders
    more_pods = resolved(NANO, "data.prepare={hosts: 4}")
    other_text = resolved(NANO, "data.prepare={hosts: 2}", "data.textKey=words")
    assert len({job.target.builders for job in (prepared, more_pods, other_text)}) == 3
