"""How the processes of an attempt ended, read from what is known of their pods. Pure.

A pod is deleted for several reasons, and only the order of things tells them apart: by somebody else before anything
else ended (the cause), by its Job after another process ended, or by us (both its consequence). Kubernetes' times are
whole seconds of several machines' clocks, so what happened in the same second counts as a consequence, unless the other
process saved and left: it does that only when somebody was asked to terminate, and that was this pod.

A pod may also be gone before anybody saw that its deletion was asked for: the operator was down, or its watch broke.
Then it is a consequence where another process has ended for a reason of its own.

Better than all times is what processes that saved and left say: which of them was told to.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lateen_api.termination import ExitCode, TerminationMessage

from lateen_operator.blame import first_signalled
from lateen_operator.cluster.times import CLOCKS_DIFFER_SECONDS
from lateen_operator.cluster.views import PodView
from lateen_operator.process_exit import LEFT_WITH_PEERS, NODE_LOST, POD_DELETED, ProcessExit

OVERDUE_SECONDS = 5.0
"""After the end of its grace a pod whose kubelet lives is gone, or about to go."""

_KILLED = 137
_NODE_GONE = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
_FOLLOWS_FROM_ANOTHER = LEFT_WITH_PEERS | {ExitCode.DONE, ExitCode.LOST_PEER}


@dataclass(frozen=True)
class PodExit:
    """A pod that has ended, and when; not yet why."""

    pod: PodView
    at: float
    reported: bool
    """Its kubelet said how; False: it is only known to be over."""


def ended(pod: PodView, now: float) -> PodExit | None:
    """Has it ended, as far as can be known at `now`?"""
    if pod.exit_code is not None and pod.ended_at is not None:
        return PodExit(pod, pod.ended_at, reported=True)
    if pod.gone_at is not None:
        return PodExit(pod, min(pod.gone_at, pod.deadline or pod.gone_at), reported=False)
    if pod.deadline is not None and now >= pod.deadline + OVERDUE_SECONDS:
        return PodExit(pod, pod.deadline, reported=False)
    return None


def overdue_at(pod: PodView) -> float | None:
    """When a pod that is being deleted counts as lost; None: it is not, or has ended."""
    if pod.deadline is None or pod.gone_at is not None or pod.exit_code is not None:
        return None
    return pod.deadline + OVERDUE_SECONDS


def process_exits(
    pods: Mapping[int, PodView], terminating_since: float | None, now: float, *, deleted: str = POD_DELETED
) -> dict[int, ProcessExit]:
    """The ends of those processes that have ended, by process.

    Args:
        pods: the pod of each process that has or had one.
        terminating_since: when we terminated them.
        now: seconds since the epoch.
        deleted: reason of an end whose pod was deleted, and not by us nor as a consequence.
    """
    over = {number: end for number, pod in pods.items() if (end := ended(pod, now)) is not None}
    signalled = _signalled(over.values(), terminating_since)
    ends = {
        number: _end(
            number,
            end,
            _consequences_from(over, but=number) if signalled is None else _always_or_never(number != signalled),
            terminating_since,
            deleted,
            peers_saved=_have_saved(over, end.pod.asked_at, terminating_since, but=number),
        )
        for number, end in over.items()
        if not _was_unseen(end)
    }
    unseen = {
        number: unseen_exit(number, end.at, ends.values(), terminating_since, deleted=deleted, node=end.pod.node)
        for number, end in over.items()
        if _was_unseen(end)
    }
    return ends | unseen


def unseen_exit(
    number: int,
    at: float,
    others: Collection[ProcessExit],
    terminating_since: float | None,
    *,
    deleted: str = POD_DELETED,
    node: str | None = None,
) -> ProcessExit:
    """The end of a process whose pod is gone, and of which nobody saw when its deletion was asked for.

    Args:
        number: of the process.
        at: when it is known to be gone.
        others: ends of other processes of which more is known.
        terminating_since: when we terminated all of them.
        deleted: the reason, if it was deleted by somebody else than us and not because of another's end.
        node: that it was on.
    """
    # Who saved and left before we terminated them was told by somebody else.
    saved = [
        end
        for end in others
        if end.exit_code in LEFT_WITH_PEERS and (terminating_since is None or end.at < terminating_since)
    ]
    if (signalled := first_signalled(end.termination for end in saved)) is not None:
        asked = number != signalled
        return ProcessExit(number, _KILLED, at, reason=None if asked else deleted, asked=asked, node=node)
    # That another pod was deleted, too, may be the cause or the consequence of this.
    others = [end for end in others if not end.asked]
    has_cause = any(
        end.reason not in (None, deleted) or (end.reason is None and end.exit_code not in _FOLLOWS_FROM_ANOTHER)
        for end in others
    )
    # A process that is asked to terminate says so to its peers, and they save, too. One that they lost died first, and
    # its Job deleted the pod after that.
    lost = any(end.exit_code == ExitCode.LOST_PEER for end in others)
    asked = has_cause or (not saved and (lost or terminating_since is not None))
    reason = None if asked else deleted
    return ProcessExit(number, _KILLED, at, reason=reason, asked=asked, node=node, may_follow=not asked)


def _signalled(over: Iterable[PodExit], terminating_since: float | None) -> int | None:
    """The process that was asked to terminate before we terminated all; None: those that saved do not say."""
    left = (
        end
        for end in over
        if end.pod.exit_code == ExitCode.SAVED and (terminating_since is None or end.at < terminating_since)
    )
    return first_signalled(termination_message(end.pod.message) for end in left)


def _always_or_never(follows: bool) -> float | None:
    return -math.inf if follows else None


def _was_unseen(end: PodExit) -> bool:
    pod = end.pod
    return not end.reported and pod.gone_at is not None and pod.deadline is None and pod.reason is None


def _consequences_from(over: Mapping[int, PodExit], but: int) -> float | None:
    """From when on the deletion of a pod follows from how another one ended; None: from none."""
    # One that saved or had nothing to save was asked to terminate before anybody lost it.
    left_itself = over[but].pod.exit_code in LEFT_WITH_PEERS
    others = [end for number, end in over.items() if number != but]
    times = (_deletions_from(end) for end in others if not (left_itself and end.pod.exit_code == ExitCode.LOST_PEER))
    return min((time for time in times if time is not None), default=None)


def _have_saved(over: Mapping[int, PodExit], since: float | None, terminating_since: float | None, but: int) -> bool:
    """Did others save and leave after the deletion of this one's pod was asked for, and before we terminated them?"""
    return since is not None and any(
        end.pod.exit_code in LEFT_WITH_PEERS
        and since <= end.at
        and (terminating_since is None or end.at < terminating_since)
        for number, end in over.items()
        if number != but
    )


def _deletions_from(end: PodExit) -> float | None:
    """From when on a Job deletes other pods because of this end; None: this may itself follow from another."""
    pod = end.pod
    if pod.asked_at is not None and end.at >= pod.asked_at:
        # Evicted or preempted: nothing else was its cause.
        return None if pod.reason is None else pod.asked_at
    if not end.reported:
        return None
    return end.at + (CLOCKS_DIFFER_SECONDS if pod.exit_code in LEFT_WITH_PEERS else 0)


def _end(
    number: int,
    end: PodExit,
    consequences_from: float | None,
    terminating_since: float | None,
    deleted: str,
    *,
    peers_saved: bool,
) -> ProcessExit:
    pod, asked_at = end.pod, end.pod.asked_at
    told = (
        terminating_since is not None
        and end.at + CLOCKS_DIFFER_SECONDS > terminating_since
        and not _was_asked_before(pod, terminating_since)
    )
    # Who saves and leaves was told that this one has to leave, whatever it died of in the end.
    was_killed = _was_killed_in_its_grace(end) and not peers_saved
    by_deletion = asked_at is not None and end.at >= asked_at and not was_killed
    followed = by_deletion and consequences_from is not None and (asked_at or 0.0) >= consequences_from
    reason = pod.reason
    if reason is None and by_deletion and not told and not followed:
        reason = deleted
    is_silent = pod.gone_at is None and pod.grace > 0
    if not end.reported and (is_silent or reason in _NODE_GONE):
        # Its kubelet let the time pass. Without grace somebody forced it: they know better than we do.
        return ProcessExit(number, _KILLED, end.at, reason=NODE_LOST, node=pod.node)
    return ProcessExit(
        process=number,
        exit_code=_KILLED if pod.exit_code is None else pod.exit_code,
        at=end.at,
        termination=termination_message(pod.message),
        reason=reason,
        asked=reason is None and (told or followed),
        node=pod.node,
    )


def _was_asked_before(pod: PodView, terminating_since: float) -> bool:
    """Was its deletion asked for by somebody else, before we terminated all of them?"""
    return pod.asked_at is not None and pod.asked_at + CLOCKS_DIFFER_SECONDS < terminating_since


def _was_killed_in_its_grace(end: PodExit) -> bool:
    """Killed although it had time left to leave: that is not how kubelets end a pod."""
    pod = end.pod
    in_grace = pod.deadline is not None and end.at + CLOCKS_DIFFER_SECONDS < pod.deadline
    return in_grace and end.reported and pod.exit_code == _KILLED


def termination_message(message: str | None) -> TerminationMessage | None:
    """The termination message; None: it is none of a trainer's (a killed process leaves none, or half of one)."""
    if not message:
        return None
    try:
        return TerminationMessage.from_json(message)
    except ValueError:
        return None
