"""How one process of an attempt ended, and what that says by itself. Pure: the same on Kubernetes and on this machine.

Sources: exit codes of `lateen_api.termination`; 128 + signal by POSIX shells; 125 to 127 by container runtimes; reasons
of pods and of their DisruptionTarget condition by Kubernetes 1.36.
"""

import signal
from dataclasses import dataclass
from enum import StrEnum

from lateen_api.termination import MEANING, ExitCode, TerminationMessage


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
    """The process had been asked to terminate by what runs the attempt before it ended."""

    node: str | None = None
    """Node that it ran on."""

    may_follow: bool = False
    """It may follow from another one that could as well follow from this: nobody saw which came first."""


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
"""What the trainer itself found to be wrong."""

# What is sent to ask a process to leave; a process that dies of one had no handler for it yet.
_ASKING_SIGNALS = frozenset({"SIGTERM", "SIGINT", "SIGHUP"})
_COULD_NOT_START = range(125, 128)
_LOST_BY_RUNTIME = 255


def failure_class_of(end: ProcessExit) -> FailureClass:
    """What one exit says by itself."""
    reason = explaining_reason(end)
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


def has_own_cause(end: ProcessExit) -> bool:
    """Did the trainer itself find what is wrong? That its machine was taken away at the same time explains nothing."""
    return end.exit_code in _OWN_ENDS


def explaining_reason(end: ProcessExit) -> str | None:
    """The platform's reason, where it explains the end."""
    return None if has_own_cause(end) else end.reason


def may_retry(failure_class: FailureClass, exit_code: int) -> bool:
    """False where another attempt would end the same way."""
    is_nobodys_fault = failure_class in (FailureClass.REQUESTED, FailureClass.PLANNED, FailureClass.INFRASTRUCTURE)
    return is_nobodys_fault or exit_code not in _FINAL


def exit_reason(code: int) -> str:
    """`SIGKILL`, `UserError`, `Exit3`: an exit code as one word."""
    if code in _CLASSES:
        return "".join(part.capitalize() for part in ExitCode(code).name.split("_"))
    return signal_name(code) or f"Exit{code}"


def exit_message(end: ProcessExit) -> str:
    """What happened to the process, as the rest of a sentence that starts with it."""
    code = shell_exit_code(end.exit_code)
    name = signal_name(code)
    reason = explaining_reason(end)
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
    said = f": {one_line(end.termination.message)}" if end.termination and end.termination.message.strip() else ""
    return f"ended with exit code {code}" + (f" ({meaning})" if meaning else "") + said


def one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
