"""The ledger of a job's attempts, the budgets it draws on, and what comes after the last attempt. Pure.

Each kind of end has a budget (`spec.recovery`), so that a thousand preemptions do not use up the few restarts
that an error of the job's own deserves. Restarts that got the job further come at once; those that did not
wait longer and longer, up to a bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lateen_api.progress import Phase
from lateen_api.spec import RecoverySpec

from lateen_operator.process_exit import FailureClass, signal_name
from lateen_operator.verdict import Verdict

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LONGEST_SECONDS = 60.0

# Crashes from inside the process. Once, the machine may be at fault; twice at one place, the program is.
_CRASH_SIGNALS = frozenset({"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV"})


@dataclass(frozen=True)
class Attempt:
    """One attempt: all processes of the job, started together, until the last of them ended."""

    number: int
    """From 1 on, over the life of the job."""

    hosts: int
    started_at: float
    """Seconds since the epoch."""

    ended_at: float | None = None
    verdict: Verdict | None = None
    """Why it ended; None: it runs."""

    first_step: int | None = None
    """Step it started from; None: it never got so far."""

    step: int | None = None
    """Steps trained when last polled."""

    loss: float | None = None
    """Training loss of the last step, in nats per token."""

    checkpoint_step: int | None = None
    """Step of the last committed checkpoint, of this attempt or an earlier one."""

    checkpoint: str | None = None

    wanted_hosts: int | None = None
    """Hosts that the job asked for when the attempt was started."""

    digest: str | None = None
    """Digest of the job that it was started with."""

    queue: str | None = None
    """The queue that its machines come from; None: there is none."""

    admitted_at: float | None = None
    """When the queue admitted it: seconds since the epoch; None: it has not yet, or there is none."""

    process_started_at: float | None = None
    """When its process 0 began: seconds since the epoch."""

    last_phase: Phase = Phase.STARTING
    """What process 0 was doing when last polled."""

    phase_seconds: Mapping[Phase, float] | None = None
    """Seconds that process 0 spent in each phase, when last polled; None: it was not heard of."""

    data_wait_seconds: float | None = None
    """Seconds of these that training waited for batches."""

    seconds_to_next_step: float | None = None
    """Seconds from its end to the first step of the attempt after it."""

    @property
    def steps_lost(self) -> int:
        """Steps that the next attempt trains once more, as far as is known before it has begun: see `steps_lost`."""
        return max(0, (self.step or 0) - (self.checkpoint_step or 0))


@dataclass(frozen=True)
class Start:
    """Start this attempt now."""

    number: int
    hosts: int | None = None
    """Hosts of it; None: the caller knows."""

    avoid: tuple[str, ...] = ()
    """Nodes that it should not run on while others can take its pods."""


@dataclass(frozen=True)
class Wait:
    """Do nothing until then, then look again."""

    until: float
    """Seconds since the epoch; infinity: until something happens."""


@dataclass(frozen=True)
class Finish:
    """The job is complete."""


@dataclass(frozen=True)
class Fail:
    """The job failed."""

    verdict: Verdict
    why: str
    """Why there is no further attempt, for people: a sentence without full stop."""


Action = Start | Wait | Finish | Fail


def next_action(
    attempts: Sequence[Attempt],
    recovery: RecoverySpec,
    now: float,
    *,
    first: int = 1,
    forgotten: Mapping[FailureClass, int] | None = None,
) -> Action:
    """What follows the last attempt, which has ended (or none was made).

    Args:
        attempts: the ended attempts that count against the budgets, oldest first.
        recovery: the budgets.
        now: seconds since the epoch.
        first: number of the first attempt, when there is none yet.
        forgotten: what older attempts, which are no longer in the ledger, have taken from each budget.

    Raises:
        ValueError: the last attempt has no verdict.
    """
    if not attempts:
        return Start(first)
    last = attempts[-1]
    if last.verdict is None or last.ended_at is None:
        raise ValueError(f"attempt {last.number} has not ended")
    if last.verdict.failure_class is FailureClass.DONE:
        return Finish()
    if not last.verdict.retry:
        return Fail(last.verdict, "another attempt would end the same way")
    budget = charged_to(attempts, len(attempts) - 1)
    field, limit = _limit(budget, recovery)
    used = spent(attempts, budget) + (forgotten or {}).get(budget, 0)
    if budget is not FailureClass.DONE and used > limit:
        return Fail(last.verdict, f"spec.recovery.{field} allows {_restarts(limit)}")
    until = last.ended_at + backoff_seconds(attempts)
    return Start(last.number + 1) if now >= until else Wait(until)


def of_last_text(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
    """The attempts since the job was changed last: those that count against its budgets."""
    first = len(attempts)
    while first > 0 and attempts[first - 1].digest == attempts[-1].digest:
        first -= 1
    return attempts[first:]


def steps_lost(attempts: Sequence[Attempt], index: int) -> int:
    """Steps of the attempt at `index` that had to be trained again.

    What the next attempt restored decides. Until that is known, the last checkpoint that was heard of does: a process
    that is killed may have committed another one.
    """
    attempt = attempts[index]
    resumed = next((later.first_step for later in attempts[index + 1 :] if later.first_step is not None), None)
    return attempt.steps_lost if resumed is None else max(0, (attempt.step or 0) - resumed)


def spent(attempts: Sequence[Attempt], budget: FailureClass) -> int:
    """How many of the attempts are charged to this budget."""
    return sum(charged_to(attempts, index) is budget for index in range(len(attempts)))


def charged_to(attempts: Sequence[Attempt], index: int) -> FailureClass:
    """The budget that the attempt at `index` draws on: `PLANNED`, `INFRASTRUCTURE`, `USER`, or `DONE` for
    none.

    Bad data and bad numbers count as failures of the job's own. So does a crash that happens again at the
    same place: the machine is to blame for the first, the program for the second.
    """
    verdict = attempts[index].verdict
    if verdict is None or verdict.failure_class in (FailureClass.DONE, FailureClass.REQUESTED):
        return FailureClass.DONE
    if verdict.failure_class is FailureClass.PLANNED:
        return FailureClass.PLANNED
    if verdict.failure_class is FailureClass.INFRASTRUCTURE and not _repeats_crash(attempts, index):
        return FailureClass.INFRASTRUCTURE
    return FailureClass.USER


def backoff_seconds(attempts: Sequence[Attempt]) -> float:
    """How long to wait after the last attempt: nothing when it got further than all before it, else 1 s, 2 s,
    4 s, … with each further one that did not, up to a minute."""
    if charged_to(attempts, len(attempts) - 1) is FailureClass.DONE:
        return 0.0
    stuck = 0
    for index in reversed(range(len(attempts))):
        if _broke_ground(attempts, index):
            break
        stuck += 1
    if stuck == 0:
        return 0.0
    # The exponent is bounded too: 2.0 ** 1024 overflows.
    return min(BACKOFF_LONGEST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(stuck - 1, 16))


def _broke_ground(attempts: Sequence[Attempt], index: int) -> bool:
    """Did the attempt train a step that none before it had trained?"""
    before = max((attempt.step or 0 for attempt in attempts[:index]), default=attempts[0].first_step or 0)
    return (attempts[index].step or 0) > before


def _repeats_crash(attempts: Sequence[Attempt], index: int) -> bool:
    if index == 0:
        return False
    verdict, before = attempts[index].verdict, attempts[index - 1].verdict
    return (
        verdict is not None
        and before is not None
        and verdict.exit_code == before.exit_code
        and signal_name(verdict.exit_code) in _CRASH_SIGNALS
        and not _broke_ground(attempts, index)
    )


def _limit(budget: FailureClass, recovery: RecoverySpec) -> tuple[str, int]:
    match budget:
        case FailureClass.PLANNED:
            return "maxPreemptions", recovery.max_preemptions
        case FailureClass.INFRASTRUCTURE:
            return "maxInfrastructureFailures", recovery.max_infrastructure_failures
        case _:
            return "maxFailures", recovery.max_failures


def _restarts(limit: int) -> str:
    return "no restart" if limit == 0 else "one restart" if limit == 1 else f"{limit} restarts"
