"""Series of each job, read from its status."""

from lateen_api.status import (
    CheckpointStatus,
    Condition,
    ConditionType,
    JobStatus,
    PlanStatus,
    ProgressStatus,
    TimeStatus,
)
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.cluster.metrics import Metrics
from lateen_operator.process_exit import FailureClass

PLAN = PlanStatus(
    accelerator="v5e-16", mesh="16x1", devices=16, microbatch=1, accumulation_steps=1, parameters=1, tokens_per_step=1
)
TRAINS = JobStatus(
    state="Training",
    plan=PLAN,
    hosts=4,
    attempt_count=3,
    progress=ProgressStatus(step=40, of=100, percent=40),
    last_checkpoint=CheckpointStatus(step=30, path="gs://runs/nano/step-30", time="2030-01-31T12:00:00Z"),
    time=TimeStatus(training=90, compiling=10),
    goodput=0.9,
)
KEY = Key("team", "nano")


def series(metrics: Metrics) -> dict[str, float]:
    """Values of the series of jobs, by name and labels other than the job's."""
    return {
        sample.name.removeprefix("lateen_operator_")
        + "".join(
            f",{value}" for name, value in sample.labels.items() if not name.startswith("training_job")
        ): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("lateen_operator_job")
    }


def test_known_states_stand_at_0_before_there_is_a_job() -> None:
    found = series(Metrics())
    assert set(found.values()) == {0}
    assert {"jobs,Queued", "jobs,Training", "jobs,Failed"} <= set(found)


def test_a_job_that_trains() -> None:
    metrics = Metrics()
    metrics.jobs.put(KEY, TRAINS)
    found = {name: value for name, value in series(metrics).items() if value}
    assert found == {
        "jobs,Training": 1,
        "job_info,Training,v5e-16": 1,
        "job_step": 40,
        "job_target_steps": 100,
        "job_hosts": 4,
        "job_devices": 16,
        "job_goodput_ratio": 0.9,
        "job_checkpoint_step": 30,
        "job_checkpoint_timestamp_seconds": 1896091200.0,
        "job_attempts_total": 3,
        "job_seconds_total,training": 90,
        "job_seconds_total,compiling": 10,
    }


def test_a_queued_job_says_for_what_it_waits() -> None:
    metrics = Metrics()
    time = "2030-01-31T12:00:00Z"
    waits = Condition(
        type=ConditionType.QUEUED, status="True", reason="WaitingForAdmission", message="", last_transition_time=time
    )
    conditions = [waits, waits.model_copy(update={"type": ConditionType.RUNNING, "reason": "Queued"})]
    metrics.jobs.put(KEY, TRAINS.model_copy(update={"state": "Queued", "conditions": conditions}))
    metrics.jobs.put(Key("team", "other"), TRAINS)
    assert {name for name in series(metrics) if name.startswith("job_queued")} == {"job_queued,WaitingForAdmission"}


def test_a_job_without_an_attempt_uses_no_devices_and_one_that_is_gone_has_no_series() -> None:
    metrics = Metrics()
    metrics.jobs.put(KEY, TRAINS.model_copy(update={"state": "Suspended", "hosts": 0}))
    found = series(metrics)
    assert (found["job_devices"], found["jobs,Suspended"], found["jobs,Training"]) == (0, 1, 0)
    metrics.jobs.forget(KEY)
    assert not any(name.startswith("job_") for name in series(metrics))


def test_attempts_that_ended_are_counted_by_job_and_class_from_0() -> None:
    metrics = Metrics()
    metrics.jobs.put(KEY, TRAINS)
    metrics.jobs.put(Key("team", "other"), TRAINS)
    for failure_class in ("User", "User", "Planned"):
        metrics.jobs.attempt_ended(KEY, failure_class)
    assert ended(metrics, "nano") == {**dict.fromkeys(FailureClass, 0.0), "User": 2, "Planned": 1}
    assert ended(metrics, "other") == dict.fromkeys(FailureClass, 0.0)

    metrics.jobs.forget(KEY)
    metrics.jobs.put(KEY, TRAINS)  # another job of the same name
    assert set(ended(metrics, "nano").values()) == {0}


def ended(metrics: Metrics, job: str) -> dict[str, float]:
    """Attempts of a job that ended, by failure class."""
    return {
        sample.labels["failure_class"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "lateen_operator_job_attempts_ended_total" and sample.labels["training_job"] == job
    }
