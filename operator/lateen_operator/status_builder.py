"""What a job's status says: a pure function from what was observed and decided to the status that people read.

A round that learns nothing new writes the same status again, so comparing with the one before tells whether there is
anything to write.
"""

from collections.abc import Sequence
from dataclasses import replace

from lateen_api.progress import Phase, Progress
from lateen_api.status import (
    ATTEMPTS_KEPT,
    AvoidedNodeStatus,
    BudgetStatus,
    CheckpointStatus,
    DataStatus,
    JobStatus,
    PlanStatus,
    ProgressStatus,
    TimeStatus,
)

from lateen_operator.attempt_codec import ledger_to_status, timestamp
from lateen_operator.attempts import Attempt, Fail, Finish, Start, of_last_text, spent
from lateen_operator.conditions import conditions_of, state_of
from lateen_operator.goodput import goodput, sum_of, time_of, total, with_preparation
from lateen_operator.node_exclusion import avoided_nodes
from lateen_operator.observation import Observation
from lateen_operator.process_exit import FailureClass
from lateen_operator.reconcile import Decision, RecordEnd, Suspend

_LOSS_DIGITS = 4
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def build_status(
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
    state = state_of(seen, decision, open_attempt)
    time, time_before = _time(attempts, seen, decision, previous, now)
    return JobStatus(
        state=state[0],
        observed_generation=generation,
        conditions=conditions_of(seen, decision, open_attempt, state, previous, generation, now),
        plan=plan or previous.plan,
        data=_data(seen, now),
        progress=_progress(seen.progress, attempts, previous, seen.target.steps),
        lanes=_lanes(seen, decision, previous, plan),
        hosts=open_attempt.hosts if open_attempt else 0,
        attempt_count=attempts[-1].number if attempts else 0,
        attempts=ledger_to_status(attempts)[-ATTEMPTS_KEPT:],
        avoided_nodes=_avoided_nodes(attempts, seen, decision, now),
        budgets=_budgets(attempts, seen),
        last_checkpoint=_checkpoint(attempts, previous, now),
        time=time,
        time_before=time_before,
        goodput=time and goodput(time),
    )


def _ledger(seen: Observation, decision: Decision, now: float) -> tuple[Attempt, ...]:
    """The attempts as the decision leaves them."""
    attempts = seen.attempts
    match decision:
        case RecordEnd(verdict=verdict):
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


def _data(seen: Observation, now: float) -> DataStatus | None:
    preparation = seen.preparation
    if preparation is None or (preparation.started_at is None and not preparation.ready):
        return None
    ready_at = preparation.ready_at or now
    return DataStatus(
        digest=preparation.digest,
        ready=preparation.ready,
        whole=preparation.whole,
        message=preparation.message,
        started=timestamp(preparation.started_at or ready_at),
        ready_time=timestamp(ready_at) if preparation.ready else None,
    )


def _progress(
    progress: Progress | None, attempts: Sequence[Attempt], previous: JobStatus, steps: int | None
) -> ProgressStatus | None:
    last = attempts[-1] if attempts else None
    old = previous.progress
    if progress is None or progress.of == 0:
        of = old.of if old is not None else steps
        if of is None or last is None or last.step is None or last.verdict is None:
            return old
        # The attempt's last words (its termination message) are newer than the last report, or all that there is.
        step, loss = min(last.step, of), _rounded(last.loss)
        if old is None:
            return ProgressStatus(step=step, of=of, percent=_percent(step, of), loss=loss)
        ended = {"step": step, "percent": _percent(step, old.of), "loss": loss or old.loss, "eta": None, "phase": None}
        return old.model_copy(update=ended)
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
    used = {one: spent(counted, one) + forgotten.get(one, 0) for one in FailureClass}
    return BudgetStatus(
        preemptions=used[FailureClass.PLANNED],
        infrastructure_failures=used[FailureClass.INFRASTRUCTURE],
        failures=used[FailureClass.USER],
    )


def forgotten(stored: JobStatus, attempts: Sequence[Attempt]) -> dict[FailureClass, int]:
    """What attempts of the last one's text that are no longer in the stored ledger have taken from each budget: the
    stored sums less what the ledger's own entries account for."""
    counted = of_last_text(attempts)
    sums = {
        FailureClass.PLANNED: stored.budgets.preemptions,
        FailureClass.INFRASTRUCTURE: stored.budgets.infrastructure_failures,
        FailureClass.USER: stored.budgets.failures,
    }
    return {one: max(0, total - spent(counted, one)) for one, total in sums.items()}


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
    if not seen.target.avoids_nodes or isinstance(decision, Finish | Fail):
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


def _time(
    attempts: Sequence[Attempt], seen: Observation, decision: Decision, previous: JobStatus, now: float
) -> tuple[TimeStatus | None, TimeStatus | None]:
    """Where the time since the job was created went, and the part of it that is of attempts that are not kept."""
    created_at = seen.created_at or (attempts[0].started_at if attempts else None)
    if created_at is None:
        return None, previous.time_before
    before = previous.time_before or TimeStatus()
    dropped, kept = attempts[:-ATTEMPTS_KEPT], attempts[-ATTEMPTS_KEPT:]
    if dropped:
        since = created_at + total(before)
        before = sum_of([before, time_of(dropped, since=since, until=kept[0].started_at)])
    is_over = isinstance(decision, Finish | Fail) and bool(attempts) and attempts[-1].ended_at is not None
    until = attempts[-1].ended_at if is_over else now
    rest = time_of(kept, since=created_at + total(before), until=until or now, suspended=isinstance(decision, Suspend))
    first = attempts[0].started_at if attempts else None
    time = with_preparation(sum_of([before, rest]), _seconds_of_preparation(seen, first, now))
    return time, before if total(before) > 0 else None


def _seconds_of_preparation(seen: Observation, until: float | None, now: float) -> float:
    """Seconds before the first attempt in which nothing was waited for but text."""
    preparation = seen.preparation
    if preparation is None or preparation.started_at is None:
        return 0.0
    ends = [at for at in (preparation.ready_at, until) if at is not None]
    return max(0.0, min(ends, default=now) - preparation.started_at)
