"""What to do next with a job: a pure function from what is observed to one decision.

What runs the job (the operator in a cluster, `lateen run` on this machine) observes, asks here, applies the
answer, and asks again. A decision names one thing to do, so the whole life of a job can be read off this file.
"""

import math
from dataclasses import dataclass, replace

from lateen_api.errors import JobError
from lateen_api.progress import Phase
from lateen_api.spec.section import duration_seconds
from lateen_api.termination import ExitCode

from lateen_operator.attempts import Fail, Finish, Start, Wait, next_action, of_last_text
from lateen_operator.node_exclusion import nodes_to_avoid
from lateen_operator.observation import Observation, Process
from lateen_operator.process_exit import STOPPED, SUSPENDED_BY_QUEUE, FailureClass
from lateen_operator.resize import RESIZED, fewer_hosts, more_hosts, next_hosts
from lateen_operator.verdict import Verdict, classify
from lateen_operator.wording import asked_for, hosts

UNTIL_SOMETHING_HAPPENS = math.inf

_HANGS, _HANGS_PLUS = 2.0, 10.0
"""Times `hangAfter`, and seconds on top, without a new word after which a process that answers hangs all the same: it
watches over its own steps, and this is for a watchdog that hangs with it."""

_UNWATCHED_PHASES = (
    *(Phase.EVALUATING, Phase.SAVING, Phase.COMPILING, Phase.WAITING_FOR_DATA),
    *(Phase.EXPORTING, Phase.DONE),
)


@dataclass(frozen=True)
class Timeouts:
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
class Terminate:
    """Send SIGTERM to the processes that run: save, and leave."""

    cause: Verdict | None = None


@dataclass(frozen=True)
class Kill:
    """Send SIGKILL to the processes that run."""

    cause: Verdict | None = None


@dataclass(frozen=True)
class RecordEnd:
    """Write the attempt's verdict into the ledger."""

    verdict: Verdict


@dataclass(frozen=True)
class Suspend:
    """Rest without being complete, as was asked."""


@dataclass(frozen=True)
class Refuse:
    """Create nothing: the job cannot run as it is written."""

    error: JobError


@dataclass(frozen=True)
class Prepare:
    """Wait until the builders of the token caches have what training begins with."""


@dataclass(frozen=True)
class Expire:
    """Delete the job: its time to live after the end is over."""


Decision = Terminate | Kill | RecordEnd | Prepare | Start | Wait | Finish | Fail | Suspend | Refuse | Expire


def reconcile(seen: Observation, now: float, *, timeouts: Timeouts | None = None, first: int = 1) -> Decision:
    """The next thing to do.

    Args:
        seen: the state of affairs.
        now: seconds since the epoch.
        timeouts: bounds for processes that should leave.
        first: number of the first attempt.
    """
    timeouts = timeouts or Timeouts()
    if seen.attempt is None:
        return _between_attempts(seen, now, first)
    if not seen.alive:
        return RecordEnd(_verdict(seen))
    if seen.killed:
        return Wait(UNTIL_SOMETHING_HAPPENS)
    if seen.stop_requests > 1:
        return Kill()
    return _while_running(seen, now, timeouts)


def _verdict(seen: Observation) -> Verdict:
    """What the ends say; or, when we ended the attempt, why, with what the ends say of the save."""
    if not seen.ends:
        return seen.cause or Verdict(
            FailureClass.PLANNED, ExitCode.NOT_SAVED, "all its processes disappeared at once", reason="Deleted"
        )
    judged = _with_eviction(classify(seen.ends), seen.eviction)
    if seen.cause is None or judged.failure_class is FailureClass.DONE:
        return judged
    if seen.cause.failure_class is FailureClass.REQUESTED:
        return replace(seen.cause, exit_code=judged.exit_code)
    return seen.cause


def _with_eviction(verdict: Verdict, eviction: str | None) -> Verdict:
    if verdict.reason != SUSPENDED_BY_QUEUE or eviction is None:
        return verdict
    return replace(verdict, message=f"{verdict.message}. The queue says: {eviction}")


def _between_attempts(seen: Observation, now: float, first: int) -> Decision:
    target, attempts = seen.target, seen.attempts
    last = attempts[-1] if attempts else None
    if last and last.verdict and last.verdict.failure_class is FailureClass.DONE and not _has_more_steps(seen):
        return _at_the_end(seen, Finish(), now)
    if seen.refusal is not None:
        return Refuse(seen.refusal)
    # A changed job gets all its restarts again, and may run again although it failed as it was before.
    is_counted = (
        last and last.digest == target.digest and last.verdict and last.verdict.failure_class is not FailureClass.DONE
    )
    counted = of_last_text(attempts) if is_counted else ()
    fresh = last.number + 1 if last else first
    action = next_action(counted, target.recovery, now, first=fresh, forgotten=seen.forgotten if counted else None)
    if isinstance(action, Fail) and (not seen.stop_requests or _own_fault(action.verdict)):
        # A job that was asked to stop and then failed by itself has failed: its owner wants to know.
        return _at_the_end(seen, action, now)
    if seen.stop_requests:
        return Suspend()
    if isinstance(action, Start):
        return _unprepared(seen, now) or Start(
            action.number, next_hosts(attempts, target), nodes_to_avoid(attempts, now) if target.avoids_nodes else ()
        )
    return action


def _unprepared(seen: Observation, now: float) -> Decision | None:
    """What there is to do before an attempt, where pods of their own build the token caches; None: nothing."""
    preparation = seen.preparation
    if preparation is None or preparation.whole:
        return None
    if preparation.failure is not None:
        return _at_the_end(seen, Fail(preparation.failure, "training needs the text"), now)
    return None if preparation.ready else Prepare()


def _has_more_steps(seen: Observation) -> bool:
    steps, last = seen.target.steps, seen.attempts[-1]
    return steps is not None and last.step is not None and last.step < steps


def _at_the_end(seen: Observation, ending: Finish | Fail, now: float) -> Decision:
    ttl, ended_at = seen.target.ttl, seen.attempts[-1].ended_at if seen.attempts else None
    if ttl is not None and ended_at is not None and now >= ended_at + ttl:
        return Expire()
    return ending


def _own_fault(verdict: Verdict) -> bool:
    return verdict.failure_class in (FailureClass.USER, FailureClass.DATA, FailureClass.NUMERICAL)


def _while_running(seen: Observation, now: float, timeouts: Timeouts) -> Decision:
    recovery = seen.target.recovery
    if seen.stop_requests or (seen.terminating_since is not None and seen.cause is not None):
        grace = recovery.grace_seconds + timeouts.margin
        stopped = Verdict(FailureClass.REQUESTED, ExitCode.SAVED, "it was asked to stop", reason=STOPPED)
        return _tell_then_kill(seen, now, tell_at=now, grace=grace, cause=stopped)
    failed = [end.at for end in seen.ends if end.exit_code not in (ExitCode.DONE, ExitCode.SAVED)]
    if failed:
        return _tell_then_kill(seen, now, tell_at=min(failed) + timeouts.peers_leave, grace=timeouts.peers_save)
    saved = [end.at for end in seen.ends if end.exit_code == ExitCode.SAVED]
    if saved:
        # Somebody else sent SIGTERM to the trainers; all of them agree on the step at which they leave.
        return _tell_then_kill(seen, now, tell_at=min(saved) + recovery.grace_seconds, grace=timeouts.margin)
    done = [end.at for end in seen.ends if end.process == 0]
    if done:
        return _tell_then_kill(seen, now, tell_at=min(done) + timeouts.stragglers, grace=timeouts.margin)
    return _change(seen) or _starved(seen) or _starting(seen, now) or _watch(seen, now)


def _tell_then_kill(
    seen: Observation, now: float, *, tell_at: float, grace: float, cause: Verdict | None = None
) -> Decision:
    if seen.terminating_since is None:
        return Terminate(cause) if now >= tell_at else Wait(tell_at)
    kill_at = seen.terminating_since + grace
    return Kill(seen.cause) if now >= kill_at else Wait(kill_at)


def _change(seen: Observation) -> Decision | None:
    """The attempt makes room for one of another shape."""
    attempt, target = seen.attempt, seen.target
    if attempt is None or seen.refusal is not None:
        return None
    if target.digest is not None and attempt.digest is not None and target.digest != attempt.digest:
        return Terminate(_requested("SpecChanged", "the job's spec was changed"))
    if attempt.wanted_hosts not in (None, target.hosts) and attempt.hosts != target.hosts:
        return Terminate(_resize(RESIZED, f"{asked_for(target.hosts)} instead of {attempt.hosts}", target.hosts))
    larger = more_hosts(seen)
    if larger is not None:
        return Terminate(_resize("CapacityBack", f"there are machines for {hosts(larger)} again", larger))
    return None


def _starved(seen: Observation) -> Decision | None:
    """The attempt waits for text that nobody builds any more."""
    failure = seen.preparation.failure if seen.preparation else None
    is_waiting = seen.progress is not None and seen.progress.phase in (Phase.TOKENIZING, Phase.WAITING_FOR_DATA)
    return Terminate(failure) if failure is not None and is_waiting else None


def _starting(seen: Observation, now: float) -> Decision | None:
    """While some processes do not run yet: none that has a machine waits for ever for those that have none."""
    attempt, target = seen.attempt, seen.target
    late = [process for process in seen.processes if not process.running]
    if attempt is None or not late:
        return None
    looks = []
    since = [process.waiting_since for process in seen.processes if process.waiting_since is not None]
    if any(not process.placed for process in late) and target.resize_after is not None:
        fewer = fewer_hosts(seen)
        if fewer is not None:
            at = attempt.started_at + target.resize_after
            if now >= at:
                short = f"only {hosts(sum(p.placed for p in seen.processes))} of {attempt.hosts} found a machine"
                return Terminate(_resize("CapacityAway", f"{short} (spec.compute.resizeAfter)", fewer))
            looks.append(at)
    if since:
        deadline = target.recovery.start_deadline
        at = min(since) + duration_seconds(deadline)
        if now >= at:
            cause = f"not all processes ran within {deadline} (spec.recovery.startDeadline): {_late(late)}"
            return Kill(Verdict(FailureClass.INFRASTRUCTURE, ExitCode.HANG, cause, reason="StartDeadline"))
        looks.append(at)
    return Wait(min(looks, default=UNTIL_SOMETHING_HAPPENS))


def _watch(seen: Observation, now: float) -> Decision:
    """A process that is frozen answers nobody. One that answers watches over its own steps."""
    recovery = seen.target.recovery
    if seen.silent_since is not None:
        answered = seen.progress is not None
        field = "hangAfter" if answered else "startDeadline"
        limit = recovery.hang_after if answered else recovery.start_deadline
        until = seen.silent_since + duration_seconds(limit)
        said, process = f"process 0 gave no answer for {limit} (spec.recovery.{field})", 0
        node = next((one.node for one in seen.processes if one.number == process), None)
    elif seen.moved_at is not None and seen.progress is not None and seen.progress.phase not in _UNWATCHED_PHASES:
        limit = duration_seconds(recovery.hang_after) * _HANGS + _HANGS_PLUS
        until = seen.moved_at + limit
        said = f"process 0 told nothing new for {limit:.0f} s (more than twice spec.recovery.hangAfter)"
        process = node = None  # It answers; it may wait for any other.
    else:
        return Wait(UNTIL_SOMETHING_HAPPENS)
    if now < until:
        return Wait(until)
    return Kill(Verdict(FailureClass.INFRASTRUCTURE, ExitCode.HANG, said, process=process, reason="Hang", node=node))


def _requested(reason: str, message: str) -> Verdict:
    return Verdict(FailureClass.REQUESTED, ExitCode.SAVED, message, reason=reason)


def _resize(reason: str, message: str, hosts: int) -> Verdict:
    return replace(_requested(reason, message), next_hosts=hosts)


def _late(processes: list[Process]) -> str:
    first = processes[0]
    others = f", and {len(processes) - 1} others" if len(processes) > 1 else ""
    return f"process {first.number} waits: {first.waiting_for or 'its program has not started'}{others}"
