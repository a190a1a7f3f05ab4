"""Merge patches of the status: what they change, take out and leave alone."""

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lateen_api.status import AttemptStatus, Condition, ConditionType, JobStatus
from lateen_operator.cluster.status_patch import may_wait, status_patch, written


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": [1, 2]}, {"a": [1, 3]}, {"a": [1, 3]}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
    ],
)
def test_a_patch_is_the_difference(before: Any, after: Any, patch: Any) -> None:
    assert status_patch(before, after) == patch


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


values = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
statuses = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(before=statuses, after=statuses)
def test_a_server_that_applies_the_patch_has_the_new_status(before: Any, after: Any) -> None:
    patched = merged(before, status_patch(before, after))
    assert {k: v for k, v in patched.items() if v != {}} == {
        k: v for k, v in after.items() if v != {}
    } or patched == after


def wait(before: JobStatus, after: JobStatus, others: int = 0) -> float:
    return may_wait(status_patch(written(before), written(after)), before, after, others)


ENTRY = AttemptStatus(number=1, hosts=2, started="2030-01-01T00:00:00Z")


def test_progress_may_wait() -> None:
    assert wait(JobStatus(attempts=[ENTRY]), JobStatus(attempts=[ENTRY.model_copy(update={"step": 7})])) == 5.0


def test_an_attempt_s_end_may_not_wait() -> None:
    over = ENTRY.model_copy(update={"ended": "2030-01-01T01:00:00Z"})
    assert wait(JobStatus(attempts=[ENTRY]), JobStatus(attempts=[over]), others=1000) == 0.0


def conditions(**statuses: Literal["True", "False"]) -> list[Condition]:
    """Conditions by type."""
    since = "2030-01-01T00:00:00Z"
    return [
        Condition(type=ConditionType(name), status=status, reason="Why", message="", last_transition_time=since)
        for name, status in statuses.items()
    ]


NEW = JobStatus()
STARTING = JobStatus(attempts=[ENTRY], conditions=conditions(Accepted="True", Blocked="False", Queued="True"))
RUNNING = JobStatus(attempts=[ENTRY], conditions=conditions(Accepted="True", Queued="False", Running="True"))


@pytest.mark.parametrize(("before", "after"), [(NEW, STARTING), (STARTING, RUNNING)])
def test_a_start_waits_for_those_of_other_jobs(before: JobStatus, after: JobStatus) -> None:
    waits = [wait(before, after, others) for others in (0, 20, 10_000)]
    assert waits == [0.0, 1.0, 10.0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NEW, JobStatus(conditions=conditions(Accepted="False"))),
        (NEW, JobStatus(conditions=conditions(Accepted="True", Blocked="True"))),
        (JobStatus(conditions=conditions(Blocked="True")), STARTING),
        (RUNNING, JobStatus(attempts=[ENTRY], conditions=conditions(Accepted="True", Running="False"))),
        (JobStatus(observed_generation=1), JobStatus(observed_generation=2)),
    ],
)
def test_what_is_no_start_waits_for_nothing(before: JobStatus, after: JobStatus) -> None:
    assert wait(before, after, others=1000) == 0.0


def test_what_is_waited_for_may_wait_a_second() -> None:
    assert wait(JobStatus(state="Queued"), JobStatus(state="Starting")) == 1.0
