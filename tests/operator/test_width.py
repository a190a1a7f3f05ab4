"""On how many hosts a job goes on."""

import pytest
from lateen_api.spec import RecoverySpec
from lateen_operator.attempts import Attempt
from lateen_operator.observation import Target
from lateen_operator.verdict import Kind, Verdict
from lateen_operator.width import next_hosts


@pytest.mark.parametrize(("reason", "hosts"), [("Resized", 2), ("CapacityAway", 1)])
def test_a_number_that_was_taken_back_is_not_followed_but_what_capacity_allows_is(reason: str, hosts: int) -> None:
    verdict = Verdict(Kind.REQUESTED, 42, "room for one", reason=reason, next_hosts=1)
    attempt = Attempt(1, hosts=2, started_at=0.0, ended_at=9.0, verdict=verdict, wanted_hosts=2)
    assert next_hosts([attempt], Target(RecoverySpec(), hosts=2, host_counts=(1, 2))) == hosts
