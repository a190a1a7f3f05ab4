"""The state of a job in one word, and its conditions: what people and programs wait for. Pure."""

import math

from lateen_api.status import Condition, ConditionType, JobStatus

from lateen_operator import stragglers
from lateen_operator.attempt_codec import timestamp
from lateen_operator.attempts import Attempt, Fail, Finish, Start, Wait
from lateen_operator.observation import Blocked, Observation
from lateen_operator.reconcile import Decision, Kill, Prepare, RecordEnd, Refuse, Suspend, Terminate


def state_of(seen: Observation, decision: Decision, attempt: Attempt | None) -> tuple[str, str]:
    """The state in one word, and why, for people."""
    match decision:
        case Refuse(error=error):
            return "Refused", str(error)
        case Finish():
            return "Complete", "All steps are trained."
        case Fail(verdict=verdict, why=why):
            return "Failed", f"{_sentence(verdict.message)} There is no further attempt: {why}."
        case Suspend():
            return "Suspended", "spec.suspend is true. Set it to false, or run `lateen resume`, to go on."
        case Prepare() if seen.blocked is None:
            how_far = seen.preparation.message if seen.preparation else None
            return "PreparingData", how_far or "the pods that tokenize are created"
        case Start():
            return "Starting", "Its pods are created."
        case RecordEnd(verdict=verdict):
            return "Restarting", _sentence(verdict.message)
    if (
        seen.blocked is not None
        and seen.terminating_since is None
        and not any(process.running for process in seen.processes)
    ):
        return "Blocked", seen.blocked.message
    if attempt is None:
        return "Restarting", _waiting(seen, decision)
    if seen.terminating_since is not None or isinstance(decision, Terminate | Kill):
        cause = seen.cause or (decision.cause if isinstance(decision, Terminate | Kill) else None)
        why = cause.message if cause else "a process ended, and its peers leave"
        return "Stopping", _sentence(why)
    if seen.ends:
        return "Restarting", f"{len(seen.ends)} of {len(seen.processes)} processes have ended."
    late = [process for process in seen.processes if not process.running]
    if late:
        placed = sum(process.placed for process in seen.processes)
        reason = next((process.waiting_for for process in late if process.waiting_for), "its pods start")
        if seen.admission is not None:
            return "Queued", seen.admission.message
        if placed < len(seen.processes):
            return "Queued", f"{placed} of {len(seen.processes)} hosts have a machine: {reason}."
        return "Starting", f"{len(late)} of {len(seen.processes)} processes do not run yet: {reason}."
    if seen.progress is None:
        return "Starting", "All processes run; process 0 has not told its progress yet."
    detail = f": {seen.progress.detail}" if seen.progress.detail else ""
    return seen.progress.phase.value, f"Process 0 is {seen.progress.phase.value.lower()}{detail}."


def _waiting(seen: Observation, decision: Decision) -> str:
    last = seen.attempts[-1].verdict if seen.attempts else None
    wait = (
        f" The next attempt starts at {timestamp(decision.until)}."
        if isinstance(decision, Wait) and math.isfinite(decision.until)
        else ""
    )
    return f"{_sentence(last.message) if last else 'It is about to start.'}{wait}"


def conditions_of(
    seen: Observation,
    decision: Decision,
    attempt: Attempt | None,
    state: tuple[str, str],
    previous: JobStatus,
    generation: int | None,
    now: float,
) -> list[Condition]:
    """All conditions.

    Args:
        seen: what the decision was made from.
        decision: what is done now.
        attempt: the one that is under way after it.
        state: by `state_of`.
        previous: the status as it is stored; a condition that stays as it is keeps its time.
        generation: of the spec that was read.
        now: seconds since the epoch.
    """
    word, why = state
    running = attempt is not None and not seen.ends and all(p.running for p in seen.processes) and seen.processes != ()
    # Processes that were asked to terminate need not answer any more.
    leaving = seen.terminating_since is not None or isinstance(decision, Terminate | Kill)
    silent = seen.silent_since is not None and seen.progress is not None and not seen.ends and not leaving
    if attempt is not None and attempt.hosts < seen.target.hosts:
        degraded = ("FewerHosts", f"It runs on {attempt.hosts} of {seen.target.hosts} hosts until there are machines.")
    elif silent:
        degraded = ("NoAnswer", f"Process 0 has not answered since {timestamp(seen.silent_since or now)}.")
    else:
        degraded = ("AsWanted", "It runs as it was asked for." if attempt else "It does not run.")
    accepted = ("Refused", str(seen.refusal)) if seen.refusal else ("Planned", "The plan was made.")
    blocked = seen.blocked or Blocked("NotBlocked", "", "")
    queued = seen.admission.reason if seen.admission else "WaitingForMachines"
    failed = decision.verdict.reason if isinstance(decision, Fail) else ""
    before = {condition.type: condition for condition in previous.conditions}
    straggling = _straggling(seen, before.get(ConditionType.STRAGGLING), now) if running and not leaving else None
    slow_reason, slow_message = straggling or ("", "")
    told: list[tuple[ConditionType, bool, str, str]] = [
        (ConditionType.ACCEPTED, seen.refusal is None, accepted[0], accepted[1]),
        (ConditionType.BLOCKED, seen.blocked is not None, blocked.reason, blocked.message),
        (ConditionType.QUEUED, word == "Queued", queued, why),
        (ConditionType.RUNNING, running, word, why),
        (ConditionType.DEGRADED, degraded[0] != "AsWanted", degraded[0], degraded[1]),
        (ConditionType.STRAGGLING, straggling is not None, slow_reason, slow_message),
        (ConditionType.SUSPENDED, isinstance(decision, Suspend), "Suspended", why),
        (ConditionType.COMPLETE, isinstance(decision, Finish), "Complete", why),
        (ConditionType.FAILED, isinstance(decision, Fail), failed or "Failed", why),
    ]
    return [_condition(before.get(fact[0]), *fact, generation, now) for fact in told]


def _straggling(seen: Observation, before: Condition | None, now: float) -> tuple[str, str] | None:
    """Reason and message, if the others have waited for one process for long. After a restart of the operator, which
    has not heard the reports before it, the condition stands by a single one."""
    slow, report = seen.slow, seen.progress.slowest_process if seen.progress else None
    if slow is None or report is None:
        return None
    known = before is not None and before.status == "True"
    if not known and now - slow.since < stragglers.SLOW_FOR_SECONDS:
        return None
    node = next((process.node for process in seen.processes if process.number == slow.process), None)
    return stragglers.explain(report, node)


def _condition(
    before: Condition | None,
    kind: ConditionType,
    holds: bool,
    reason: str,
    message: str,
    generation: int | None,
    now: float,
) -> Condition:
    status = "True" if holds else "False"
    if not holds and kind not in (ConditionType.ACCEPTED, ConditionType.RUNNING):
        # What does not hold needs no story, which would change with every step of something else.
        reason, message = f"Not{kind.value}", ""
    kept = before is not None and before.status == status
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time if before and kept else timestamp(now),
        observed_generation=generation,
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
