"""On how many hosts a job goes on: fewer when machines stay away, more when they come back. Pure.

Sizes are those that the plan allows. A job resizes itself only where `compute.resizeAfter` says so; a change of
`compute.hosts` is followed always. Free machines are found by capacity probes: placeholder pods
that ask for what a host of the job would get. So the scheduler itself says whether there is room, and a cluster that
can grow does.
"""

from collections.abc import Sequence

from lateen_operator.attempts import Attempt
from lateen_operator.node_exclusion import nodes_to_avoid
from lateen_operator.observation import Observation, Target
from lateen_operator.process_exit import FailureClass

RESIZED = "Resized"
"""Reason of an end that made room for the number of hosts that is asked for."""


def next_hosts(attempts: Sequence[Attempt], target: Target) -> int:
    """Hosts of the attempt after those of the ledger."""
    last = attempts[-1] if attempts else None
    if last is None or last.wanted_hosts != target.hosts:
        return target.hosts
    if last.verdict and last.verdict.reason == RESIZED:
        # Told to leave for another number, which may have been taken back since.
        return target.hosts
    chosen = last.verdict.next_hosts if last.verdict and last.verdict.next_hosts else last.hosts
    if target.resize_after is not None and _had_to_take_an_avoided_node(attempts, target):
        chosen = max((count for count in target.host_counts if count < last.hosts), default=chosen)
    return chosen if chosen in target.host_counts else target.hosts


def _had_to_take_an_avoided_node(attempts: Sequence[Attempt], target: Target) -> bool:
    """Did the last attempt fail on a node that it had been told to avoid? There was no other for so many hosts."""
    *former, last = attempts
    return (
        target.avoids_nodes
        and last.verdict is not None
        and last.verdict.failure_class is FailureClass.INFRASTRUCTURE
        and last.verdict.node in nodes_to_avoid(former, last.started_at)
    )


def fewer_hosts(seen: Observation) -> int | None:
    """Most hosts, fewer than the attempt has, for which it found machines; None: there are not enough even for the
    fewest."""
    attempt = seen.attempt
    placed = sum(process.placed for process in seen.processes)
    fitting = [count for count in seen.target.host_counts if count <= placed and attempt and count < attempt.hosts]
    return max(fitting, default=None)


def probes_wanted(seen: Observation) -> int:
    """Hosts for which free machines should be looked for: those up to the next larger size."""
    attempt, target = seen.attempt, seen.target
    if (
        attempt is None
        or target.resize_after is None
        or seen.terminating_since is not None
        or seen.ends
        or seen.refusal
    ):
        return 0
    if not all(process.running for process in seen.processes):
        return 0
    larger = [count for count in target.host_counts if count > attempt.hosts]
    return min(larger, default=attempt.hosts) - attempt.hosts


def more_hosts(seen: Observation) -> int | None:
    """The next larger size, once there are free machines for it."""
    attempt, wanted = seen.attempt, probes_wanted(seen)
    if attempt is None or not wanted or seen.probes_placed < wanted:
        return None
    return attempt.hosts + wanted
