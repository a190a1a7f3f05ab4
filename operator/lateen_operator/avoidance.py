"""Nodes on which a job should not be started again. Pure.

A node that was lost a moment ago may still look healthy to the scheduler. One on which attempts failed again and
again before they trained a step is broken in a way that its health does not show.
"""

from collections import Counter
from collections.abc import Sequence

from lateen_operator.attempts import Attempt
from lateen_operator.verdict import NODE_LOST, Kind

LOST_SECONDS = 300.0
"""How long a lost node is avoided: Kubernetes has marked it by then, or it is back."""

FAILING_SECONDS = 3600.0
EARLY_FAILURES = 2
"""Failures in that time, before a step was trained, after which a node is avoided."""


def nodes_to_avoid(attempts: Sequence[Attempt], now: float) -> tuple[str, ...]:
    """Names of nodes, sorted."""
    lost, failed_early = set(), Counter[str]()
    for attempt in attempts:
        verdict, age = attempt.verdict, now - (attempt.ended_at or now)
        if verdict is None or verdict.node is None or verdict.kind is not Kind.INFRASTRUCTURE:
            continue
        if verdict.reason == NODE_LOST and age <= LOST_SECONDS:
            lost.add(verdict.node)
        if (attempt.step or 0) <= (attempt.first_step or 0) and age <= FAILING_SECONDS:
            failed_early[verdict.node] += 1
    failing = {node for node, failures in failed_early.items() if failures >= EARLY_FAILURES}
    return tuple(sorted(lost | failing))
