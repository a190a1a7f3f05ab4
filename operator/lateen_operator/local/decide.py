"""What to do next with a job on this machine: a pure function from what is observed to one decision.

The supervisor observes, asks here, applies the answer, and asks again. A decision names one thing to do, so
the whole life of a job can be read off this function.
"""

import math
from dataclasses import dataclass

from lateen_api.outcome import ExitCode
from lateen_api.spec import RecoverySpec
from lateen_api.spec.section import duration_seconds

from lateen_operator.attempts import Attempt, Finish, GiveUp, Start, Wait, next_action
from lateen_operator.verdict import End, Kind, Verdict, classify

UNTIL_SOMETHING_HAPPENS = math.inf


@dataclass(frozen=True)
class Patience:
    """How long processes that should be leaving are given, in seconds."""

    peers_leave: float = 5.0
    """For the peers of a process that died to notice and leave by themselves."""

    peers_save: float = 5.0
    """From SIGTERM to SIGKILL for such peers: without the one that died they can hardly save anything."""

    stragglers: float = 60.0
    """For the peers of process 0 after that has left with everything done."""

    margin: float = 5.0
    """From the end of `recovery.graceSeconds` to SIGKILL: a save that is nearly written is worth it."""


@dataclass(frozen=True)
class Observation:
    """All that a decision depends on. Times are seconds since the epoch."""

    attempts: tuple[Attempt, ...]
    """Attempts that this supervisor made; the last one has no verdict while it runs."""

    running: frozenset[int] = frozenset()
    """Processes of the attempt that have not ended."""

    ends: tuple[End, ...] = ()
    """Processes of the attempt that have."""

    stop_requests: int = 0
    """How often the user asked to stop (Ctrl-C or SIGTERM)."""

    told_at: float | None = None
    """When the attempt's processes were sent SIGTERM."""

    killed: bool = False
    """They were sent SIGKILL."""

    cause: Verdict | None = None
    """Verdict that a `Kill` carried: it stands, whatever the processes' ends look like."""

    silent_since: float | None = None
    """Since when process 0 has not answered on /progress; None: it did when last asked."""

    answered: bool = False
    """Process 0 has answered in this attempt."""


@dataclass(frozen=True)
class Tell:
    """Send SIGTERM to the processes that run: save, and leave."""


@dataclass(frozen=True)
class Kill:
    """Send SIGKILL to the processes that run."""

    cause: Verdict | None = None


@dataclass(frozen=True)
class Close:
    """Write the attempt's verdict into the ledger."""

    verdict: Verdict


@dataclass(frozen=True)
class Stop:
    """End without being complete, as the user asked."""


Decision = Tell | Kill | Close | Start | Wait | Finish | GiveUp | Stop


def decide(
    seen: Observation, recovery: RecoverySpec, now: float, *, patience: Patience | None = None, first: int = 1
) -> Decision:
    """The next thing to do.

    Args:
        seen: the state of affairs.
        recovery: budgets and time limits of the job.
        now: seconds since the epoch.
        patience: bounds for processes that should leave.
        first: number of the first attempt.
    """
    patience = patience or Patience()
    if not seen.attempts or seen.attempts[-1].verdict is not None:
        return _between_attempts(seen, recovery, now, first)
    if not seen.running:
        return Close(seen.cause or classify(seen.ends))
    if seen.killed:
        return Wait(UNTIL_SOMETHING_HAPPENS)
    if seen.stop_requests > 1:
        return Kill()
    return _while_running(seen, recovery, now, patience)


def _between_attempts(seen: Observation, recovery: RecoverySpec, now: float, first: int) -> Decision:
    action = next_action(seen.attempts, recovery, now, first=first)
    if seen.stop_requests and not isinstance(action, Finish):
        # A job that was asked to stop and then failed by itself has failed: the user wants to know.
        return action if isinstance(action, GiveUp) and _own_fault(action.verdict) else Stop()
    return action


def _own_fault(verdict: Verdict) -> bool:
    return verdict.kind in (Kind.USER, Kind.DATA, Kind.NUMERICAL)


def _while_running(seen: Observation, recovery: RecoverySpec, now: float, patience: Patience) -> Decision:
    if seen.stop_requests:
        grace = recovery.grace_seconds + patience.margin
        return _tell_then_kill(seen, now, tell_at=now, grace=grace)
    failed = [end.at for end in seen.ends if end.exit_code not in (ExitCode.DONE, ExitCode.SAVED)]
    if failed:
        return _tell_then_kill(seen, now, tell_at=min(failed) + patience.peers_leave, grace=patience.peers_save)
    saved = [end.at for end in seen.ends if end.exit_code == ExitCode.SAVED]
    if saved:
        # Somebody else sent SIGTERM to the trainers; all of them agree on the step at which they leave.
        return _tell_then_kill(seen, now, tell_at=min(saved) + recovery.grace_seconds, grace=patience.margin)
    done = [end.at for end in seen.ends if end.process == 0]
    if done:
        return _tell_then_kill(seen, now, tell_at=min(done) + patience.stragglers, grace=patience.margin)
    return _watch(seen, recovery, now)


def _tell_then_kill(seen: Observation, now: float, *, tell_at: float, grace: float) -> Decision:
    if seen.told_at is None:
        return Tell() if now >= tell_at else Wait(tell_at)
    kill_at = seen.told_at + grace
    return Kill() if now >= kill_at else Wait(kill_at)


def _watch(seen: Observation, recovery: RecoverySpec, now: float) -> Decision:
    """A process that is frozen answers nobody. One that answers watches over its own steps."""
    if seen.silent_since is None:
        return Wait(UNTIL_SOMETHING_HAPPENS)
    field = "hangAfter" if seen.answered else "startDeadline"
    limit = recovery.hang_after if seen.answered else recovery.start_deadline
    until = seen.silent_since + duration_seconds(limit)
    if now < until:
        return Wait(until)
    cause = Verdict(
        kind=Kind.INFRASTRUCTURE,
        exit_code=ExitCode.HANG,
        message=f"process 0 gave no answer for {limit} (spec.recovery.{field})",
        process=0,
    )
    return Kill(cause)
