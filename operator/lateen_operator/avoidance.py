"""Nodes on which a job should not be started again. Pure.

A node that was lost a moment ago may still look healthy to the scheduler. One on which attempts failed again and
again before they trained a step is broken in a way that its health does not show.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from lateen_operator.attempts import Attempt
from lateen_operator.verdict import NODE_LOST, Kind, Verdict

LOST_SECONDS = 60.0
"""How long a lost node is avoided: Kubernetes has marked it by then (40 s by default), or it is back."""

FAILING_SECONDS = 3600.0
EARLY_FAILURES = 2
"""Failures in that time, before a step was trained, after which a node is avoided."""


def nodes_to_avoid(attempts: Sequence[Attempt], now: float) -> tuple[str, ...]:
    """Names of nodes, sorted."""
    return tuple(sorted({*lost_nodes(attempts, now), *failing_nodes(attempts, now)}))


def lost_nodes(attempts: Sequence[Attempt], now: float) -> tuple[str, ...]:
    """Nodes that were lost a moment ago, sorted."""
    verdicts = [verdict for verdict, age, _ in _failures(attempts, now) if age <= LOST_SECONDS]
    return tuple(sorted({verdict.node for verdict in verdicts if verdict.node and verdict.reason == NODE_LOST}))


def failing_nodes(attempts: Sequence[Attempt], now: float) -> tuple[str, ...]:
    """Nodes on which attempts failed again and again before they trained a step, sorted."""
    early = Counter(
        verdict.node for verdict, age, trained in _failures(attempts, now) if not trained and age <= FAILING_SECONDS
    )
    return tuple(sorted(node for node, failures in early.items() if node and failures >= EARLY_FAILURES))


def _failures(attempts: Sequence[Attempt], now: float) -> Iterator[tuple[Verdict, float, bool]]:
    """Verdicts on failures of machines, how long ago they were, and whether a step had been trained."""
    for attempt in attempts:
        verdict = attempt.verdict
        if verdict is not None and verdict.kind is Kind.INFRASTRUCTURE:
            yield verdict, now - (attempt.ended_at or now), (attempt.step or 0) > (attempt.first_step or 0)
