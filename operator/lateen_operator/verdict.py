"""Why an attempt ended, read from how its processes ended. Pure: the same on Kubernetes and on this machine.

When one process dies, its peers die of that later, with codes of their own. So the attempt is judged by the first
process that ended badly, and exits that are only echoes of another (a lost peer, a process that the operator ended)
count only when there is nothing else. Then the process that was lost is blamed, if those that left say which one it is,
and never the one that reports it. Of several that saved and left, it is the one that was asked to terminate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lateen_api.termination import ExitCode

from lateen_operator.blame import first_lost, first_signalled
from lateen_operator.process_exit import (
    LEFT_WITH_PEERS,
    POD_DELETED,
    FailureClass,
    ProcessExit,
    exit_message,
    exit_reason,
    explaining_reason,
    failure_class_of,
    has_own_cause,
    may_retry,
    one_line,
    shell_exit_code,
    signal_name,
)


@dataclass(frozen=True)
class Verdict:
    """Why an attempt ended and what follows from it."""

    failure_class: FailureClass
    exit_code: int
    """0 to 255: what a command that gives up because of this should exit with."""

    message: str
    """The cause for people, without a full stop: `process 1 was killed by SIGKILL`."""

    process: int | None = None
    """The process that failed; None: the attempt as a whole, or nobody knows which."""

    retry: bool = True
    """False: another attempt would end the same way."""

    reason: str = ""
    """The cause as one word for programs: `SIGKILL`, `EvictionByEvictionAPI`, `NodeLost`, `Suspended`, …"""

    node: str | None = None
    """Node of that process."""

    next_hosts: int | None = None
    """Hosts of the next attempt, when it ended in order to have another number of them."""


def is_echo(end: ProcessExit, others: Sequence[ProcessExit] = ()) -> bool:
    """True for an end that only follows from another one.

    All processes save and leave together when one is told to: the one whose end the platform explains is the cause,
    or the one that says itself why the job cannot go on (its disk is full, say).
    """
    if end.exit_code == ExitCode.USER_ERROR:
        return False
    if end.exit_code == ExitCode.SAVED and any(other.exit_code == ExitCode.USER_ERROR for other in others):
        return True
    if end.asked or end.exit_code == ExitCode.LOST_PEER:
        return end.reason is None or end.asked
    explained = any(other.reason is not None and not other.asked for other in others)
    return explained and end.reason is None and end.exit_code in LEFT_WITH_PEERS


def classify(ends: Sequence[ProcessExit]) -> Verdict:
    """The verdict over an attempt all of whose processes ended, or whose first bad end is known.

    Args:
        ends: at least one, in any order.

    Raises:
        ValueError: there are no ends to judge.
    """
    if not ends:
        raise ValueError("an attempt without ended processes cannot be judged")
    in_time = sorted(ends, key=lambda end: (end.at, _may_follow(end), end.process))
    for end in in_time:
        # Process 0 commits the last checkpoint before it leaves with 0: how its peers are torn down is no
        # matter then.
        if end.process == 0 and end.exit_code == ExitCode.DONE:
            return _verdict(end)
    bad = [end for end in in_time if end.exit_code != ExitCode.DONE]
    causes = [end for end in bad if not is_echo(end, bad)]
    reports = [end for end in bad if end.exit_code == ExitCode.LOST_PEER]
    lost = first_lost({end.process: end.termination.lost_process if end.termination else None for end in reports})
    # Times are of several machines' clocks, and in whole seconds: what processes say of each other orders them better.
    first = first_signalled(end.termination for end in bad) if lost is None else lost
    named = [end for end in causes if end.process == first]
    if causes:
        return _of_one((named or causes)[0], causes, several=len(ends) > 1)
    if reports:
        return _of_the_lost(reports[0], next((end for end in ends if end.process == lost), None), lost)
    return _verdict((bad or in_time)[0])


def _of_one(end: ProcessExit, causes: Sequence[ProcessExit], *, several: bool) -> Verdict:
    """The verdict by one end that is a cause, of several."""
    verdict = _verdict(end)
    deleted = [cause for cause in causes if cause.reason == POD_DELETED]
    if end in deleted and len(deleted) > 1 and any(cause.may_follow for cause in deleted):
        # One of them was deleted by somebody, and the others by their Job after that.
        message = "its pods were deleted, and it is not known which one first"
        return replace(verdict, process=None, node=None, message=message)
    if several and end.exit_code == ExitCode.HANG and end.reason is None:
        # The first to notice that a step hangs may have waited for any of the others.
        return replace(verdict, process=None, node=None)
    return verdict


def _of_the_lost(report: ProcessExit, lost: ProcessExit | None, number: int | None) -> Verdict:
    """The verdict where all that is known is that a process was lost."""
    verdict = _verdict(report)
    if number is None or (lost is not None and lost.exit_code == ExitCode.DONE):
        return replace(verdict, process=None, node=None)
    said = report.termination.message if report.termination else ""
    says = "it says itself" if report.process == number else f"process {report.process} says"
    message = f"process {number} was lost, {says}: {one_line(said)}"
    return replace(verdict, process=number, node=lost.node if lost else None, message=message)


def _may_follow(end: ProcessExit) -> int:
    """Of ends in one second: how likely it is that this one followed from another, from 0 on.

    Nothing makes a process find bad data, and nobody but the platform kills it; but errors and crashes of any kind
    come of a collective that loses a peer.
    """
    if has_own_cause(end):
        return 0
    return 1 if end.reason is not None or signal_name(end.exit_code) == "SIGKILL" else 2


def _verdict(end: ProcessExit) -> Verdict:
    code = shell_exit_code(end.exit_code)
    return Verdict(
        failure_class=failure_class_of(end),
        exit_code=code,
        message=f"process {end.process} {exit_message(end)}",
        process=end.process,
        retry=may_retry(failure_class_of(end), code),
        reason=explaining_reason(end) or exit_reason(code),
        node=end.node,
    )
