"""How many lanes a job is planned with, whatever is left of its objects."""

import copy
from typing import Any

import pytest
from lateen_operator.cluster.planned import Plans
from stored_jobs import NANO
from watched_objects import KEY, Cluster, config_map, job


def planned_lanes(*others: dict[str, Any], status: dict[str, Any] | None = None, **trainer: Any) -> int | None:
    """Lanes of the job that began with 64 for 16 hosts, and now may have one at most."""
    spec = copy.deepcopy(NANO["spec"])
    spec["compute"] |= {"hosts": 1, "maxHosts": 1}
    spec["trainer"] |= {"trainBatchSize": 64, **trainer}
    planned = Plans().of(KEY, Cluster(job(status=status, **spec), *others).store.get(KEY))
    assert planned.resolved is not None, planned.refusal
    return planned.resolved.plan.lanes


def test_a_job_that_has_not_begun_has_those_of_its_plan() -> None:
    assert planned_lanes() == 32


def test_they_are_the_status_s_though_the_config_map_is_gone() -> None:
    assert planned_lanes(status={"lanes": 64}) == 64


def test_they_are_the_config_map_s_where_the_status_was_wiped() -> None:
    assert planned_lanes(config_map(3), status={}) == 16


def test_the_status_knows_better_than_an_attempt_that_never_trained() -> None:
    assert planned_lanes(config_map(3), status={"lanes": 64}) == 64


def test_those_that_the_spec_names_win() -> None:
    assert planned_lanes(status={"lanes": 64}, lanes=8) == 8


@pytest.mark.parametrize("lanes", ["many", -1, None, {}])
def test_a_status_that_somebody_wrote_over_has_none(lanes: Any) -> None:
    assert planned_lanes(status={"lanes": lanes}) == 32
