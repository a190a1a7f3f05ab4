"""Why an attempt ended, read from how its processes ended. Pure: the same on Kubernetes and on this machine.

When one process dies, its peers die of that later, with codes of their own. So the attempt is judged by the
first process that ended badly, and ends that are only echoes of another (a lost peer, a process that we
ended) count only when there is nothing else.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lateen_api.outcome import MEANING, ExitCode, Outcome


class Kind(StrEnum):
    """What an end says about the job. Budgets of `spec.recovery` pay for `PLANNED`, `INFRASTRUCTURE` and the rest."""

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
class End:
    """How one process of an attempt ended."""

    process: int
    exit_code: int
    """As a shell gives it, or as Python's subprocess does: -9 and 137 both mean SIGKILL."""

    at: float
    """When: seconds on any clock that all ends of the attempt share."""

    outcome: Outcome | None = None
    """The termination message, when the process left one."""

    reason: str | None = None
    """Why, as the platform names it: a container's or pod's reason (`OOMKilled`, `Evicted`), or the reason of
    the pod's DisruptionTarget condition."""

    asked: bool = False
    """The process had been told to leave by whoever runs the attempt before it ended."""

    node: str | None = None
    """Node that it ran on."""


@dataclass(frozen=True)
class Verdict:
    """Why an attempt ended and what follows from it."""

    kind: Kind
    exit_code: int
    """0 to 255: what a command that gives up because of this should exit with."""

    message: str
    """The cause for people, without a full stop: `process 1 was killed by SIGKILL`."""

    process: int | None = None
    """The process that decided; None: the attempt as a whole."""

    retry: bool = True
    """False: another attempt would end the same way."""

    reason: str = ""
    """The cause as one word for programs: `SIGKILL`, `EvictionByEvictionAPI`, `NodeLost`, `Suspended`, …"""

    node: str | None = None
    """Node of the process that decided."""

    next_hosts: int | None = None
    """Hosts of the next attempt, when it ended in order to have another number of them."""


LEFT_WITH_PEERS = frozenset({ExitCode.SAVED, ExitCode.NOT_SAVED})
"""Exit codes of all processes of an attempt when one of them was told to leave."""


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


POD_DELETED = "PodDeleted"
"""Reason of an end whose pod was deleted, and not by the operator."""

NODE_LOST = "NodeLost"
"""Reason of an end that nobody reported: the machine was silent past the time at which it had to be over."""

# Reasons of pods and of DisruptionTarget (Kubernetes 1.36). They outweigh exit codes, which are 137 or 143
# then.
_PLANNED_REASONS = frozenset(
    {
        "PreemptionByScheduler",
        "EvictionByEvictionAPI",
        "TerminationByKubelet",
        "Evicted",
        "NodeShutdown",
        "Terminated",
        POD_DELETED,
    }
)
_INFRASTRUCTURE_REASONS = frozenset(
    {"OOMKilled", NODE_LOST, "ContainerStatusUnknown", "DeletionByPodGC", "DeletionByTaintManager"}
)

_KINDS = {
    ExitCode.DONE: Kind.DONE,
    ExitCode.ERROR: Kind.USER,
    ExitCode.USER_ERROR: Kind.USER,
    ExitCode.BAD_DATA: Kind.DATA,
    ExitCode.SAVED: Kind.PLANNED,
    ExitCode.NAN: Kind.NUMERICAL,
    ExitCode.LOST_PEER: Kind.INFRASTRUCTURE,
    ExitCode.HANG: Kind.INFRASTRUCTURE,
    ExitCode.CORRUPT_CHECKPOINT: Kind.DATA,
    ExitCode.NOT_SAVED: Kind.PLANNED,
}

# What has the same end every time: the job's text, its numbers, and checkpoints that are all corrupt.
_FINAL = frozenset({ExitCode.USER_ERROR, ExitCode.NAN, ExitCode.CORRUPT_CHECKPOINT, 125, 126, 127})

# What is sent to ask a process to leave; a process that dies of one had no handler for it yet.
_ASKING_SIGNALS = frozenset({"SIGTERM", "SIGINT", "SIGHUP"})
_COULD_NOT_START = range(125, 128)
_LOST_BY_RUNTIME = 255


def kind_of(end: End) -> Kind:
    """What one end says by itself.

    Sources: exit codes of `lateen_api.outcome`; 128 + signal by POSIX shells; 125 to 127 by container
    runtimes.
    """
    if end.reason in _PLANNED_REASONS:
        return Kind.PLANNED
    if end.reason in _INFRASTRUCTURE_REASONS:
        return Kind.INFRASTRUCTURE
    code = shell_exit_code(end.exit_code)
    if code in _KINDS:
        return _KINDS[ExitCode(code)]
    if signal_name(code) in _ASKING_SIGNALS:
        return Kind.PLANNED
    if signal_name(code) or code == _LOST_BY_RUNTIME:
        return Kind.INFRASTRUCTURE
    return Kind.USER


def may_retry(kind: Kind, exit_code: int) -> bool:
    """False where another attempt would end the same way."""
    return kind in (Kind.REQUESTED, Kind.PLANNED, Kind.INFRASTRUCTURE) or exit_code not in _FINAL


def is_echo(end: End, others: Sequence[End] = ()) -> bool:
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


def classify(ends: Sequence[End]) -> Verdict:
    """The verdict over an attempt all of whose processes ended, or whose first bad end is known.

    Args:
        ends: at least one, in any order.

    Raises:
        ValueError: there are no ends to judge.
    """
    if not ends:
        raise ValueError("an attempt without ended processes cannot be judged")
    in_time = sorted(ends, key=lambda end: (end.at, end.process))
    for end in in_time:
        # Process 0 commits the last checkpoint before it leaves with 0: how its peers are torn down is no
        # matter then.
        if end.process == 0 and end.exit_code == ExitCode.DONE:
            return _verdict(end)
    bad = [end for end in in_time if end.exit_code != ExitCode.DONE]
    causes = [end for end in bad if not is_echo(end, bad)]
    return _verdict((causes or bad or in_time)[0])


def _verdict(end: End) -> Verdict:
    code = shell_exit_code(end.exit_code)
    return Verdict(
        kind=kind_of(end),
        exit_code=code,
        message=f"process {end.process} {_ending(end)}",
        process=end.process,
        retry=may_retry(kind_of(end), code),
        reason=end.reason or _word(code),
        node=end.node,
    )


def _word(code: int) -> str:
    """`SIGKILL`, `UserError`, `Exit3`: an exit code as one word."""
    if code in _KINDS:
        return "".join(part.capitalize() for part in ExitCode(code).name.split("_"))
    return signal_name(code) or f"Exit{code}"


def _ending(end: End) -> str:
    """What happened to the process, as the rest of a sentence that starts with it."""
    code = shell_exit_code(end.exit_code)
    name = signal_name(code)
    if end.reason == "OOMKilled":
        return "was killed because the machine ran out of memory"
    if end.reason == NODE_LOST:
        return f"is lost with its node{f' {end.node}' if end.node else ''}, which does not answer"
    if end.reason in _PLANNED_REASONS | _INFRASTRUCTURE_REASONS:
        node = f" on node {end.node}" if end.node else ""
        saved = ", after it had saved its state" if code == ExitCode.SAVED else ""
        return f"had to leave{node} ({end.reason}){saved}"
    if code == ExitCode.DONE:
        return "is done"
    if name == "SIGKILL" or name in _ASKING_SIGNALS:
        return f"was killed by {name}" + (f" ({end.reason})" if end.reason else "")
    if name:
        return f"crashed by {name}"
    if code in _COULD_NOT_START:
        return f"could not be started (exit code {code})"
    meaning = MEANING.get(ExitCode(code)) if code in _KINDS else None
    said = f": {_one_line(end.outcome.message)}" if end.outcome and end.outcome.message.strip() else ""
    return f"ended with exit code {code}" + (f" ({meaning})" if meaning else "") + said


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
