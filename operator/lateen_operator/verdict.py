"""Why an attempt ended, read from how its processes ended. Pure: the same on Kubernetes and on this machine.

When one process dies, its peers die of that later, with codes of their own. So the attempt is judged by the
first process that ended badly, and ends that are only echoes of another (a lost peer, a process that we
ended) count only when there is nothing else. Then the process that was lost is blamed, if those that left say which
one it is, and never the one that reports it. Of several that saved and left, it is the one that was told to.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lateen_api.termination import MEANING, ExitCode, TerminationMessage

from lateen_operator.blame import first_lost, first_signalled


class FailureClass(StrEnum):
    """What an end says about the job: `failureClass`, wherever it is shown. Budgets of `spec.recovery` pay for
    `PLANNED`, `INFRASTRUCTURE` and the rest."""

    DONE = "Done"
    REQUESTED = "Requested"
    """Suspended, resized or changed: as the job's owner asked, or by a rule of theirs. No budget pays for it."""

    PLANNED = "Planned"
    """Preempted, evicted or asked to leave: nobody's fault."""

    INFRASTRUCTURE = "Infrastructure"
    """A machine, its memory or its network failed."""

    USER = "User"
    """The job or its code is wrong."""

    DATA = "Data"
    """A file of the data set, or every checkpoint, cannot be read."""

    NUMERICAL = "Numerical"
    """The loss is not finite."""


@dataclass(frozen=True)
class ProcessExit:
    """How one process of an attempt ended."""

    process: int
    exit_code: int
    """As a shell gives it, or as Python's subprocess does: -9 and 137 both mean SIGKILL."""

    at: float
    """When: seconds on any clock that all ends of the attempt share."""

    termination: TerminationMessage | None = None
    """The termination message, when the process left one."""

    reason: str | None = None
    """Why, as the platform names it: a container's or pod's reason (`OOMKilled`, `Evicted`), or the reason of
    the pod's DisruptionTarget condition."""

    asked: bool = False
    """The process had been asked to terminate by whoever runs the attempt before it ended."""

    node: str | None = None
    """Node that it ran on."""

    may_follow: bool = False
    """It may follow from another one that could as well follow from this: nobody saw which came first."""


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


LEFT_WITH_PEERS = frozenset({ExitCode.SAVED, ExitCode.NOT_SAVED})
"""Exit codes of all processes of an attempt when one of them was asked to terminate."""


def shell_exit_code(code: int) -> int:
    """The code as a shell gives it: 128 + signal for subprocess's negative codes."""
    return 128 - code if code < 0 else code


def signal_name(code: int) -> str | None:
    """`SIGKILL` for 137 and -9; None when the code is no signal's."""
    number = shell_exit_code(code) - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


STOPPED = "Stopped"
"""Reason of the end of an attempt whose owner wanted the job to rest."""

POD_DELETED = "PodDeleted"
"""Reason of an end whose pod was deleted, and not by the operator."""

JOB_SET_SUSPENDED = "JobSetSuspended"
"""Reason of an end whose JobSet somebody suspended, and not the operator: they asked for it, though at the wrong
place."""

SUSPENDED_BY_QUEUE = "SuspendedByQueue"
"""Reason of an end whose JobSet the queue that had admitted it took back: Kueue preempts so."""

NODE_LOST = "NodeLost"
"""Reason of an end that nobody reported: the machine was silent past the time at which it had to be over."""

# Reasons of pods and of DisruptionTarget (Kubernetes 1.36). They outweigh exit codes that follow from them (137,
# 143, or those of a process that saves and leaves), and no others.
_PLANNED_REASONS = frozenset(
    {
        "PreemptionByScheduler",
        "EvictionByEvictionAPI",
        "TerminationByKubelet",
        "Evicted",
        "NodeShutdown",
        "Terminated",
        POD_DELETED,
        SUSPENDED_BY_QUEUE,
    }
)
_REQUESTED_REASONS = frozenset({JOB_SET_SUSPENDED})
_INFRASTRUCTURE_REASONS = frozenset(
    {"OOMKilled", NODE_LOST, "ContainerStatusUnknown", "DeletionByPodGC", "DeletionByTaintManager"}
)

_CLASSES = {
    ExitCode.DONE: FailureClass.DONE,
    ExitCode.ERROR: FailureClass.USER,
    ExitCode.USER_ERROR: FailureClass.USER,
    ExitCode.BAD_DATA: FailureClass.DATA,
    ExitCode.SAVED: FailureClass.PLANNED,
    ExitCode.NAN: FailureClass.NUMERICAL,
    ExitCode.LOST_PEER: FailureClass.INFRASTRUCTURE,
    ExitCode.HANG: FailureClass.INFRASTRUCTURE,
    ExitCode.CORRUPT_CHECKPOINT: FailureClass.DATA,
    ExitCode.NOT_SAVED: FailureClass.PLANNED,
}

# What has the same end every time: the job's text, its numbers, and checkpoints that are all corrupt.
_FINAL = frozenset({ExitCode.USER_ERROR, ExitCode.NAN, ExitCode.CORRUPT_CHECKPOINT, 125, 126, 127})

_OWN_ENDS = frozenset({ExitCode.USER_ERROR, ExitCode.BAD_DATA, ExitCode.NAN, ExitCode.CORRUPT_CHECKPOINT})
"""What the trainer itself found to be wrong. That its machine was taken away at the same time explains nothing."""

# What is sent to ask a process to leave; a process that dies of one had no handler for it yet.
_ASKING_SIGNALS = frozenset({"SIGTERM", "SIGINT", "SIGHUP"})
_COULD_NOT_START = range(125, 128)
_LOST_BY_RUNTIME = 255


def failure_class_of(end: ProcessExit) -> FailureClass:
    """What one end says by itself.

    Sources: exit codes of `lateen_api.termination`; 128 + signal by POSIX shells; 125 to 127 by container
    runtimes.
    """
    reason = _explained_by(end)
    if reason in _PLANNED_REASONS:
        return FailureClass.PLANNED
    if reason in _INFRASTRUCTURE_REASONS:
        return FailureClass.INFRASTRUCTURE
    if reason in _REQUESTED_REASONS:
        return FailureClass.REQUESTED
    code = shell_exit_code(end.exit_code)
    if code in _CLASSES:
        return _CLASSES[ExitCode(code)]
    if signal_name(code) in _ASKING_SIGNALS:
        return FailureClass.PLANNED
    if signal_name(code) or code == _LOST_BY_RUNTIME:
        return FailureClass.INFRASTRUCTURE
    return FailureClass.USER


def _explained_by(end: ProcessExit) -> str | None:
    """The platform's reason, where it explains the end."""
    return None if end.exit_code in _OWN_ENDS else end.reason


def may_retry(failure_class: FailureClass, exit_code: int) -> bool:
    """False where another attempt would end the same way."""
    is_nobodys_fault = failure_class in (FailureClass.REQUESTED, FailureClass.PLANNED, FailureClass.INFRASTRUCTURE)
    return is_nobodys_fault or exit_code not in _FINAL


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
    message = f"process {number} was lost, {says}: {_one_line(said)}"
    return replace(verdict, process=number, node=lost.node if lost else None, message=message)


def _may_follow(end: ProcessExit) -> int:
    """Of ends in one second: how likely it is that this one followed from another, from 0 on.

    Nothing makes a process find bad data, and nobody but the platform kills it; but errors and crashes of any kind
    come of a collective that loses a peer.
    """
    if end.exit_code in _OWN_ENDS:
        return 0
    return 1 if end.reason is not None or signal_name(end.exit_code) == "SIGKILL" else 2


def _verdict(end: ProcessExit) -> Verdict:
    code = shell_exit_code(end.exit_code)
    return Verdict(
        failure_class=failure_class_of(end),
        exit_code=code,
        message=f"process {end.process} {_ending(end)}",
        process=end.process,
        retry=may_retry(failure_class_of(end), code),
        reason=_explained_by(end) or _word(code),
        node=end.node,
    )


def _word(code: int) -> str:
    """`SIGKILL`, `UserError`, `Exit3`: an exit code as one word."""
    if code in _CLASSES:
        return "".join(part.capitalize() for part in ExitCode(code).name.split("_"))
    return signal_name(code) or f"Exit{code}"


def _ending(end: ProcessExit) -> str:
    """What happened to the process, as the rest of a sentence that starts with it."""
    code = shell_exit_code(end.exit_code)
    name = signal_name(code)
    reason = _explained_by(end)
    if reason == "OOMKilled":
        return "was killed because the machine ran out of memory"
    if reason == NODE_LOST:
        return f"is lost with its node{f' {end.node}' if end.node else ''}, which does not answer"
    if reason == JOB_SET_SUSPENDED:
        return "had to leave: its JobSet was suspended, and not by lateen. To suspend a job, set its spec.suspend"
    if reason in _PLANNED_REASONS | _INFRASTRUCTURE_REASONS:
        node = f" on node {end.node}" if end.node else ""
        saved = ", after it had saved its state" if code == ExitCode.SAVED else ""
        return f"had to leave{node} ({reason}){saved}"
    if code == ExitCode.DONE:
        return "is done"
    if name == "SIGKILL" or name in _ASKING_SIGNALS:
        return f"was killed by {name}" + (f" ({reason})" if reason else "")
    if name:
        return f"crashed by {name}"
    if code in _COULD_NOT_START:
        return f"could not be started (exit code {code})"
    meaning = MEANING.get(ExitCode(code)) if code in _CLASSES else None
    said = f": {_one_line(end.termination.message)}" if end.termination and end.termination.message.strip() else ""
    return f"ended with exit code {code}" + (f" ({meaning})" if meaning else "") + said


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
