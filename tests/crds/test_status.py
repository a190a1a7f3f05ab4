"""The status that the operator writes."""

from lateen_api.status import (
    AttemptStatus,
    BudgetStatus,
    CheckpointStatus,
    Condition,
    ConditionType,
    JobStatus,
    PlanStatus,
    ProgressStatus,
)

TIME = "2030-01-31T12:00:00Z"

STATUS = JobStatus(
    state="Training",
    observed_generation=2,
    conditions=[
        Condition(
            type=ConditionType.RUNNING,
            status="True",
            reason="AllHostsUp",
            message="2 of 2 hosts are up.",
            last_transition_time=TIME,
            observed_generation=2,
        )
    ],
    plan=PlanStatus(
        accelerator="cpu",
        mesh="4x1",
        devices=4,
        microbatch=4,
        accumulation_steps=2,
        parameters=859_008,
        tokens_per_step=8192,
        host_counts=[1, 2],
    ),
    progress=ProgressStatus(step=120, of=1000, percent=12, loss=3.25, eta="2h10m", last_step_time=TIME),
    hosts=2,
    attempt_count=2,
    attempts=[
        AttemptStatus(
            number=1,
            hosts=2,
            started=TIME,
            ended=TIME,
            failure_class="Planned",
            exit_code=42,
            steps_lost=0,
            node="node-1",
        ),
        AttemptStatus(number=2, hosts=2, started=TIME),
    ],
    budgets=BudgetStatus(preemptions=1),
    last_checkpoint=CheckpointStatus(step=100, path="gs://runs/nano/step-100", time=TIME),
    goodput=0.97,
)


def test_status_survives_the_round_trip():
    assert JobStatus.model_validate_json(STATUS.model_dump_json(by_alias=True)) == STATUS


def test_what_is_not_known_is_left_out_when_written_without_nulls():
    assert JobStatus().model_dump(mode="json", by_alias=True, exclude_none=True) == {
        "state": "",
        "conditions": [],
        "hosts": 0,
        "attemptCount": 0,
        "attempts": [],
        "avoidedNodes": [],
        "budgets": {"preemptions": 0, "infrastructureFailures": 0, "failures": 0},
    }


def test_a_failure_class_of_an_older_operator_is_read():
    entry = AttemptStatus.model_validate({"number": 1, "hosts": 2, "started": TIME, "cause": "Planned"})
    assert (entry.failure_class, entry.cause) == ("Planned", None)


def test_conditions_of_a_newer_operator_are_passed_over():
    known = {"type": "Running", "status": "True", "reason": "Training", "message": "", "lastTransitionTime": TIME}
    status = JobStatus.model_validate({"conditions": [{**known, "type": "Overheating"}, known]})
    assert [condition.type for condition in status.conditions] == ["Running"]


def test_fields_of_a_newer_operator_are_passed_over():
    assert JobStatus.model_validate({"state": "Training", "mood": "good"}) == JobStatus(state="Training")
