"""On how many hosts a job goes on."""

import pytest
from lateen_api.spec import RecoverySpec
from lateen_operator.attempts import Attempt
from lateen_operator.observation import Target
from lateen_operator.process_exit import FailureClass
from lateen_operator.resize import next_hosts
from lateen_operator.verdict import Verdict


@pytest.mark.parametrize(("reason", "hosts"), [("Resized", 2), ("CapacityAway", 1)])
def test_a_number_that_was_taken_back_is_not_followed_but_what_capacity_allows_is(reason: str, hosts: int) -> None:
    verdict = Verdict(FailureClass.REQUESTED, 42, "room for one", reason=reason, next_hosts=1)
    attempt = Attempt(1, hosts=2, started_at=0.0, ended_at=9.0, verdict=verdict, wanted_hosts=2)
    assert next_hosts([attempt], Target(RecoverySpec(), hosts=2, host_counts=(1, 2))) == hosts


@pytest.mark.parametrize(
    ("node", "resize_after", "hosts"),
    [("b", 60.0, 2), ("c", 60.0, 4), ("b", None, 4)],
    ids=["it had no other node", "another node failed", "it does not resize itself"],
)
def test_a_job_that_fails_on_a_node_it_was_to_avoid_goes_on_with_fewer_hosts(
    node: str, resize_after: float | None, hosts: int
) -> None:
    def failed(number: int, node: str) -> Attempt:
        verdict = Verdict(FailureClass.INFRASTRUCTURE, 137, "killed", reason="SIGKILL", node=node)
        ended_at = 100.0 * number
        return Attempt(number, 4, started_at=ended_at - 9, ended_at=ended_at, verdict=verdict, wanted_hosts=4)

    target = Target(RecoverySpec(), hosts=4, host_counts=(1, 2, 4), resize_after=resize_after)
    assert next_hosts([failed(1, "b"), failed(2, "b")], target) == 4
    assert next_hosts([failed(1, "b"), failed(2, "b"), failed(3, node)], target) == hosts
