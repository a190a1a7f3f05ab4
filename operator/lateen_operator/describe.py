"""What a job's status says: a pure function from what was observed and decided to the status that people read.

A round that learns nothing new writes the same status again, so comparing with the one before tells whether there is
anything to write.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from lateen_api.progress import Phase, Progress
from lateen_api.status import (
    ATTEMPTS_KEPT,
    AvoidedNodeStatus,
    BudgetStatus,
    CheckpointStatus,
    Condition,
    ConditionType,
    JobStatus,
    PlanStatus,
    ProgressStatus,
)

from lateen_operator.attempts import Attempt, Finish, GiveUp, Start, Wait, of_last_text, spent, steps_lost
from lateen_operator.avoidance import avoided_nodes
from lateen_operator.observation import Blocked, Observation
from lateen_operator.reconcile import Close, Decision, Kill, Refuse, Stop, Tell
from lateen_operator.record import ledger_to_status, timestamp
from lateen_operator.verdict import Kind

_LOSS_DIGITS = 4
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def describe(
    seen: Observation,
    decision: Decision,
    previous: JobStatus | None,
    *,
    plan: PlanStatus | None,
    generation: int | None,
    now: float,
) -> JobStatus:
    """The status after this decision.

    Args:
        seen: what the decision was made from.
        decision: what is done now.
        previous: the status as it is stored.
        plan: of the job as it is written now; None: it was refused.
        generation: of the spec that was read.
        now: seconds since the epoch.
    """
    previous = previous or JobStatus()
    attempts = _ledger(seen, decision, now)
    open_attempt = attempts[-1] if attempts and attempts[-1].verdict is None else None
    state = _state(seen, decision, open_attempt)
    return JobStatus(
        state=state[0],
        observed_generation=generation,
        conditions=_conditions(seen, decision, open_attempt, state, previous, generation, now),
        plan=plan or previous.plan,
        progress=_progress(seen.progress, attempts, previous, now),
        lanes=_lanes(seen, decision, previous, plan),
        hosts=open_attempt.hosts if open_attempt else 0,
        attempt_count=attempts[-1].number if attempts else 0,
        attempts=ledger_to_status(attempts)[-ATTEMPTS_KEPT:],
        avoided_nodes=_avoided_nodes(attempts, seen, decision, now),
        budgets=_budgets(attempts, seen),
        last_checkpoint=_checkpoint(attempts, previous, now),
        goodput=_goodput(attempts, now),
    )


def _ledger(seen: Observation, decision: Decision, now: float) -> tuple[Attempt, ...]:
    """The attempts as the decision leaves them."""
    attempts = seen.attempts
    match decision:
        case Close(verdict=verdict):
            # Judged when it is seen, but ended when its last process did.
            ended_at = max((end.at for end in seen.ends), default=now)
            return (*attempts[:-1], replace(attempts[-1], verdict=verdict, ended_at=min(ended_at, now)))
        case Start(number=number, hosts=hosts):
            last = attempts[-1] if attempts else None
            return (
                *attempts,
                Attempt(
                    number=number,
                    hosts=hosts or seen.target.hosts,
                    started_at=now,
                    checkpoint_step=last.checkpoint_step if last else None,
                    checkpoint=last.checkpoint if last else None,
                    wanted_hosts=seen.target.hosts,
                    digest=seen.target.digest,
                ),
            )
    return _with_recovery_time(attempts, seen)


def _with_recovery_time(attempts: tuple[Attempt, ...], seen: Observation) -> tuple[Attempt, ...]:
    """Notes at the attempt before the present one, and at those before it of which none got to train, how long it
    took until training went on."""
    if len(attempts) < 2 or seen.attempt is None or seen.progress is None:
        return attempts
    *former, present = attempts
    if present.first_step is None or (present.step or 0) <= present.first_step:
        return attempts
    for index in reversed(range(len(former))):
        before = former[index]
        if before.seconds_to_next_step is not None or before.ended_at is None:
            break
        # Process 0 says when its last step ended; that is the first one unless it was asked late.
        took = max(0.0, seen.progress.since - before.ended_at)
        former[index] = replace(before, seconds_to_next_step=round(took, 3))
    return (*former, present)


def _state(seen: Observation, decision: Decision, attempt: Attempt | None) -> tuple[str, str]:
    """The state in one word, and why, for people."""
    match decision:
        case Refuse(error=error):
            return "Refused", str(error)
        case Finish():
            return "Complete", "All steps are trained."
        case GiveUp(verdict=verdict, why=why):
            return "Failed", f"{_sentence(verdict.message)} There is no further attempt: {why}."
        case Stop():
            return "Suspended", "spec.suspend is true. Set it to false, or run `lateen resume`, to go on."
        case Start():
            return "Starting", "Its pods are created."
        case Close(verdict=verdict):
            return "Restarting", _sentence(verdict.message)
    if seen.blocked is not None and seen.told_at is None and not any(process.running for process in seen.processes):
        return "Blocked", seen.blocked.message
    if attempt is None:
        return "Restarting", _waiting(seen, decision)
    if seen.told_at is not None or isinstance(decision, Tell | Kill):
        cause = seen.cause or (decision.cause if isinstance(decision, Tell | Kill) else None)
        why = cause.message if cause else "a process ended, and its peers leave"
        return "Stopping", _sentence(why)
    if seen.ends:
        return "Restarting", f"{len(seen.ends)} of {len(seen.processes)} processes have ended."
    late = [process for process in seen.processes if not process.running]
    if late:
        placed = sum(process.placed for process in seen.processes)
        reason = next((process.waiting_for for process in late if process.waiting_for), "its pods start")
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


def _conditions(
    seen: Observation,
    decision: Decision,
    attempt: Attempt | None,
    state: tuple[str, str],
    previous: JobStatus,
    generation: int | None,
    now: float,
) -> list[Condition]:
    word, why = state
    running = attempt is not None and not seen.ends and all(p.running for p in seen.processes) and seen.processes != ()
    # Processes that were asked to terminate need not answer any more.
    leaving = seen.told_at is not None or isinstance(decision, Tell | Kill)
    silent = seen.silent_since is not None and seen.progress is not None and not seen.ends and not leaving
    if attempt is not None and attempt.hosts < seen.target.hosts:
        degraded = ("FewerHosts", f"It runs on {attempt.hosts} of {seen.target.hosts} hosts until there are machines.")
    elif silent:
        degraded = ("NoAnswer", f"Process 0 has not answered since {timestamp(seen.silent_since or now)}.")
    else:
        degraded = ("AsWanted", "It runs as it was asked for." if attempt else "It does not run.")
    accepted = ("Refused", str(seen.refusal)) if seen.refusal else ("Planned", "The plan was made.")
    blocked = seen.blocked or Blocked("NotBlocked", "", "")
    failed = decision.verdict.reason if isinstance(decision, GiveUp) else ""
    told: list[tuple[ConditionType, bool, str, str]] = [
        (ConditionType.ACCEPTED, seen.refusal is None, accepted[0], accepted[1]),
        (ConditionType.BLOCKED, seen.blocked is not None, blocked.reason, blocked.message),
        (ConditionType.QUEUED, word == "Queued", "Queued", why),
        (ConditionType.RUNNING, running, word, why),
        (ConditionType.DEGRADED, degraded[0] != "AsWanted", degraded[0], degraded[1]),
        (ConditionType.SUSPENDED, isinstance(decision, Stop), "Suspended", why),
        (ConditionType.COMPLETE, isinstance(decision, Finish), "Complete", why),
        (ConditionType.FAILED, isinstance(decision, GiveUp), failed or "Failed", why),
    ]
    before = {condition.type: condition for condition in previous.conditions}
    return [_condition(before.get(fact[0]), *fact, generation, now) for fact in told]


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


def _progress(
    progress: Progress | None, attempts: Sequence[Attempt], previous: JobStatus, now: float
) -> ProgressStatus | None:
    last = attempts[-1] if attempts else None
    old = previous.progress
    if progress is None or progress.of == 0:
        if old is None or last is None or last.step is None or last.verdict is None:
            return old
        # The attempt's last words (its termination message) are newer than the last report.
        step = min(last.step, old.of)
        return old.model_copy(update={"step": step, "percent": _percent(step, old.of), "eta": None, "phase": None})
    eta = None if last is None or last.verdict is not None else _eta(progress)
    return ProgressStatus(
        step=progress.step,
        of=progress.of,
        percent=_percent(progress.step, progress.of),
        phase=progress.phase.value,
        loss=_rounded(progress.loss),
        validation_loss=_rounded(progress.validation_loss) or (old.validation_loss if old else None),
        tokens=progress.tokens,
        tokens_per_second=_rounded(progress.tokens_per_second, 1),
        mfu=_rounded(progress.mfu),
        eta=eta,
        last_step_time=timestamp(progress.since) if progress.phase is Phase.TRAINING else old and old.last_step_time,
    )


def _percent(step: int, of: int) -> int:
    return min(100, step * 100 // of) if of else 0


def _eta(progress: Progress) -> str | None:
    if not progress.tokens_per_second or not progress.step:
        return None
    tokens_a_step = progress.tokens / progress.step
    return short_duration((progress.of - progress.step) * tokens_a_step / progress.tokens_per_second)


def short_duration(length: float) -> str:
    """`3d4h`, `2h10m`, `45s`: the two largest units, as kubectl writes ages."""
    left = max(0, round(length))
    parts: list[str] = []
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        if number or (parts and len(parts) < 2):
            parts.append(f"{number}{unit}" if number else "")
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"


def _rounded(value: float | None, digits: int = _LOSS_DIGITS) -> float | None:
    return None if value is None else round(value, digits)


def _budgets(attempts: Sequence[Attempt], seen: Observation) -> BudgetStatus:
    counted = of_last_text(attempts)
    # What is forgotten was spent on the text of the attempts that were observed.
    is_changed = bool(attempts and seen.attempts) and attempts[-1].digest != seen.attempts[-1].digest
    forgotten = {} if is_changed else seen.forgotten
    used = {kind: spent(counted, kind) + forgotten.get(kind, 0) for kind in Kind}
    return BudgetStatus(
        preemptions=used[Kind.PLANNED], infrastructure_failures=used[Kind.INFRASTRUCTURE], failures=used[Kind.USER]
    )


def forgotten(stored: JobStatus, attempts: Sequence[Attempt]) -> dict[Kind, int]:
    """What attempts of the last one's text that are no longer in the stored ledger have taken from each budget: the
    stored sums less what the ledger's own entries account for."""
    counted = of_last_text(attempts)
    sums = {
        Kind.PLANNED: stored.budgets.preemptions,
        Kind.INFRASTRUCTURE: stored.budgets.infrastructure_failures,
        Kind.USER: stored.budgets.failures,
    }
    return {kind: max(0, total - spent(counted, kind)) for kind, total in sums.items()}


def _lanes(seen: Observation, decision: Decision, previous: JobStatus, plan: PlanStatus | None) -> int | None:
    """Those of the first attempt. Others that the spec names are the run's once an attempt trains with them: until then
    its checkpoint may refuse them."""
    attempt = seen.attempt if seen.attempt and seen.attempt.digest == seen.target.digest else None
    if plan is None or plan.lanes is None or not (attempt or isinstance(decision, Start)):
        return previous.lanes
    trains = attempt is not None and (attempt.step or 0) > (attempt.first_step or 0)
    return plan.lanes if trains or previous.lanes is None else previous.lanes


def _avoided_nodes(
    attempts: Sequence[Attempt], seen: Observation, decision: Decision, now: float
) -> list[AvoidedNodeStatus]:
    if not seen.target.avoids_nodes or isinstance(decision, Finish | GiveUp):
        return []
    return [
        AvoidedNodeStatus(name=node.name, reason=node.reason, message=node.message, until=timestamp(node.until))
        for node in avoided_nodes(attempts[-ATTEMPTS_KEPT:], now)
    ]


def _checkpoint(attempts: Sequence[Attempt], previous: JobStatus, now: float) -> CheckpointStatus | None:
    newest = next((a for a in reversed(attempts) if a.checkpoint and a.checkpoint_step is not None), None)
    if newest is None or newest.checkpoint is None or newest.checkpoint_step is None:
        return previous.last_checkpoint
    before = previous.last_checkpoint
    if before is not None and before.step == newest.checkpoint_step:
        return before
    return CheckpointStatus(step=newest.checkpoint_step, path=newest.checkpoint, time=timestamp(now))


def _goodput(attempts: Sequence[Attempt], now: float) -> float | None:
    """Steps that count, as a part of all the steps' worth of time on machines.

    The time of an attempt that went into steps is taken in proportion: steps that were not lost over all that it
    trained, times the part of its time between its first step and its end.
    """
    held = useful = 0.0
    for number, attempt in enumerate(attempts):
        length = (attempt.ended_at or now) - attempt.started_at
        held += length
        trained = (attempt.step or 0) - (attempt.first_step or 0)
        if trained <= 0:
            continue
        waited = attempts[number - 1].seconds_to_next_step if number else None
        starting = 0.0
        if number and waited is not None:
            starting = max(0.0, (attempts[number - 1].ended_at or 0.0) + waited - attempt.started_at)
        is_cut_off = attempt.verdict is not None and attempt.verdict.kind is not Kind.DONE
        lost = steps_lost(attempts, number) if is_cut_off else 0
        useful += max(0.0, length - starting) * max(0, trained - lost) / trained
    return round(min(1.0, useful / held), 3) if held > 0 and useful > 0 else None


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
