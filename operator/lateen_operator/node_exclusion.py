"""Nodes on which a job should not be started again, as long as others can take its pods. Pure.

A node that was lost a moment ago may still look healthy to the scheduler. One on which attempts failed again and
again before they trained a step is broken in a way that its health does not show.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lateen_operator.attempts import Attempt
from lateen_operator.process_exit import NODE_LOST, FailureClass
from lateen_operator.verdict import Verdict

LOST_SECONDS = 60.0
"""How long a lost node is avoided: Kubernetes has marked it by then (40 s by default), or it is back."""

FAILING_SECONDS = 3600.0
EARLY_FAILURES = 2
"""Failures in that time, before a step was trained, after which a node is avoided."""


@dataclass(frozen=True)
class AvoidedNode:
    """A node that the next attempts stay away from."""

    name: str
    reason: str
    """`NodeLost` or `FailedBeforeFirstStep`."""

    message: str
    """Why, for people: a sentence."""

    until: float
    """Seconds since the epoch, to the last of them."""


def avoided_nodes(attempts: Sequence[Attempt], now: float) -> tuple[AvoidedNode, ...]:
    """The nodes, by name. One that is avoided for two reasons has the one that lasts longer."""
    latest: dict[str, AvoidedNode] = {}
    for avoided in (*_lost(attempts, now), *_failing(attempts, now)):
        known = latest.get(avoided.name)
        if known is None or known.until < avoided.until:
            latest[avoided.name] = avoided
    return tuple(latest[name] for name in sorted(latest))


def nodes_to_avoid(attempts: Sequence[Attempt], now: float) -> tuple[str, ...]:
    """Names of nodes, sorted."""
    return tuple(avoided.name for avoided in avoided_nodes(attempts, now))


def lost_nodes(attempts: Sequence[Attempt], now: float) -> tuple[str, ...]:
    """Nodes that were lost a moment ago, sorted."""
    return tuple(sorted({avoided.name for avoided in _lost(attempts, now)}))


def failing_nodes(attempts: Sequence[Attempt], now: float) -> tuple[str, ...]:
    """Nodes on which attempts failed again and again before they trained a step, sorted."""
    return tuple(sorted(avoided.name for avoided in _failing(attempts, now)))


def _lost(attempts: Sequence[Attempt], now: float) -> Iterator[AvoidedNode]:
    for attempt, verdict in _failures(attempts):
        until = (attempt.ended_at or now) + LOST_SECONDS
        if verdict.node and verdict.reason == NODE_LOST and now <= until:
            yield AvoidedNode(verdict.node, NODE_LOST, f"Attempt {attempt.number} lost it.", until)


def _failing(attempts: Sequence[Attempt], now: float) -> Iterator[AvoidedNode]:
    early: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt, verdict in _failures(attempts):
        trained = (attempt.step or 0) > (attempt.first_step or 0)
        if verdict.node and not trained and now <= (attempt.ended_at or now) + FAILING_SECONDS:
            early[verdict.node].append(attempt)
    for node, failed in early.items():
        if len(failed) >= EARLY_FAILURES:
            numbers = ", ".join(str(attempt.number) for attempt in failed)
            message = f"Attempts {numbers} failed on it before their first step."
            until = (failed[-EARLY_FAILURES].ended_at or now) + FAILING_SECONDS
            yield AvoidedNode(node, "FailedBeforeFirstStep", message, until)


def _failures(attempts: Sequence[Attempt]) -> Iterator[tuple[Attempt, Verdict]]:
    """Attempts that ended by a failure of machines, oldest first."""
    for attempt in attempts:
        if attempt.verdict is not None and attempt.verdict.failure_class is FailureClass.INFRASTRUCTURE:
            yield attempt, attempt.verdict
