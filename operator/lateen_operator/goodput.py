"""Where the time of a job went: in parts that add up to the wall time since it was created. Pure.

The parts are those of Google's goodput library (https://github.com/AI-Hypercomputer/ml-goodput-measurement), as far as
a trainer can tell them apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from lateen_api.progress import Phase
from lateen_api.status import TimeStatus

from lateen_operator.attempts import Attempt, steps_lost
from lateen_operator.process_exit import STOPPED, SUSPENDED_BY_QUEUE, FailureClass

_DIGITS = 3
_PART_OF_PHASE: Mapping[Phase, str] = {
    Phase.STARTING: "starting",
    Phase.TOKENIZING: "data",
    Phase.RESTORING: "restoring",
    Phase.COMPILING: "compiling",
    Phase.WAITING_FOR_DATA: "data",
    Phase.TRAINING: "training",
    Phase.EVALUATING: "evaluating",
    Phase.SAVING: "saving",
    Phase.EXPORTING: "exporting",
    Phase.DONE: "exporting",
}


def time_of(attempts: Sequence[Attempt], *, since: float, until: float, suspended: bool = False) -> TimeStatus:
    """The time from `since` to `until`, by what it went into.

    Args:
        attempts: all those of that time, oldest first.
        since: when the job was created, or when the first of these started.
        until: now, or when the job ended. Times are seconds since the epoch.
        suspended: whether the time after the last attempt is the owner's wish.
    """
    parts: defaultdict[str, float] = defaultdict(float)
    before: Attempt | None = None
    for index, attempt in enumerate(attempts):
        parts[_between(before)] += max(0.0, attempt.started_at - since)
        began, ended = max(attempt.started_at, since), attempt.ended_at
        since = max(began, until if ended is None else ended)
        lost = steps_lost(attempts, index) if _is_cut_off(attempt) else 0
        _add(parts, _of_attempt(attempt, since - began, lost))
        before = attempt
    rest = "suspended" if suspended else _between(before)
    parts[rest] += max(0.0, until - since)
    return _rounded(parts)


def with_preparation(parts: TimeStatus, seconds: float) -> TimeStatus:
    """The parts, with so many of the seconds in which no attempt ran as time spent on data."""
    moved = min(parts.waiting_for_machines, seconds)
    data, waiting = parts.data + moved, parts.waiting_for_machines - moved
    return parts.model_copy(update={"data": round(data, _DIGITS), "waiting_for_machines": round(waiting, _DIGITS)})


def total(parts: TimeStatus) -> float:
    """All parts together: seconds."""
    return sum(parts.model_dump().values())


def sum_of(several: Iterable[TimeStatus]) -> TimeStatus:
    """The parts of several times, added up."""
    parts: defaultdict[str, float] = defaultdict(float)
    for one in several:
        _add(parts, one.model_dump())
    return _rounded(parts)


def goodput(parts: TimeStatus) -> float | None:
    """The part of the time on machines that went into steps that count and into evaluations, from 0 to 1. What a job
    waits for its queue and for machines, or rests because its owner wants it to, is no loss. None: it has trained
    nothing."""
    held = total(parts) - parts.queued - parts.waiting_for_machines - parts.suspended
    useful = parts.training + parts.evaluating
    return round(min(1.0, useful / held), 3) if held > 0 and useful > 0 else None


def _rounded(parts: Mapping[str, float]) -> TimeStatus:
    return TimeStatus(**{name: round(seconds, _DIGITS) for name, seconds in parts.items()})


def _add(parts: defaultdict[str, float], others: Mapping[str, float]) -> None:
    for name, seconds in others.items():
        parts[name] += seconds


def _between(before: Attempt | None) -> str:
    """What the time after an attempt (None: before the first) goes into."""
    if before is None:
        return "waiting_for_machines"
    reason = "" if before.verdict is None else before.verdict.reason
    if reason == STOPPED:
        return "suspended"
    return "queued" if reason == SUSPENDED_BY_QUEUE else "recovering"


def _is_cut_off(attempt: Attempt) -> bool:
    return attempt.verdict is not None and attempt.verdict.failure_class is not FailureClass.DONE


def _of_attempt(attempt: Attempt, length: float, lost: int) -> Mapping[str, float]:
    """The parts of an attempt of so many seconds, which lost so many steps."""
    parts: defaultdict[str, float] = defaultdict(float)
    if attempt.phase_seconds is None and attempt.step is None:
        return _waits(attempt, length)
    # A trainer of an earlier version does not tell its phases.
    phases = {Phase.TRAINING: length} if attempt.phase_seconds is None else attempt.phase_seconds
    begun = attempt.process_started_at or attempt.started_at
    waited = min(length, max(0.0, begun - attempt.started_at))
    told: defaultdict[str, float] = defaultdict(float)
    for phase, seconds in phases.items():
        told[_PART_OF_PHASE[phase]] += seconds
    # Clocks of several machines: the parts may not be more than the whole.
    share = min(1.0, (length - waited) / whole) if (whole := sum(told.values())) > 0 else 0.0
    _add(parts, {name: seconds * share for name, seconds in told.items()})
    waited_for_data = min(parts["training"], (attempt.data_wait_seconds or 0.0) * share)
    parts["training"] -= waited_for_data
    parts["data"] += waited_for_data
    trained = (attempt.step or 0) - (attempt.first_step or 0)
    if trained > 0:
        of_lost = parts["training"] * min(lost, trained) / trained
        parts["training"] -= of_lost
        parts["lost_steps"] += of_lost
    _add(parts, _waits(attempt, waited))
    # Since it was heard last: until that is told, what it did then; when it has ended, until that was noticed.
    rest = max(0.0, length - waited - whole)
    parts["recovering" if attempt.verdict is not None else _PART_OF_PHASE[attempt.last_phase]] += rest
    return parts


def _waits(attempt: Attempt, length: float) -> Mapping[str, float]:
    """The parts of so many seconds from the start of an attempt, in which none of its processes ran."""
    if attempt.queue is None:
        return {"waiting_for_machines": length}
    # One that its queue has never admitted waited for nothing else.
    queued = length if attempt.admitted_at is None else attempt.admitted_at - attempt.started_at
    queued = min(length, max(0.0, queued))
    return {"queued": queued, "waiting_for_machines": length - queued}
