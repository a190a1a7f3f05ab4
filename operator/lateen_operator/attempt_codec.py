"""Attempts as the job's status keeps them, and back."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from lateen_api.progress import Phase
from lateen_api.status import MESSAGE_KEPT, AttemptStatus

from lateen_operator.attempts import Attempt, steps_lost
from lateen_operator.process_exit import FailureClass, may_retry
from lateen_operator.verdict import Verdict


def ledger_to_status(attempts: Sequence[Attempt]) -> list[AttemptStatus]:
    """The ledger's entries, oldest first."""
    return [to_status(attempt, lost=steps_lost(attempts, index)) for index, attempt in enumerate(attempts)]


def to_status(attempt: Attempt, *, lost: int | None = None) -> AttemptStatus:
    """The ledger's entry.

    Args:
        attempt: whose.
        lost: steps of it that had to be trained again; None: as far as the attempt alone tells.
    """
    verdict = attempt.verdict
    return AttemptStatus(
        number=attempt.number,
        hosts=attempt.hosts,
        started=timestamp(attempt.started_at),
        ended=None if attempt.ended_at is None else timestamp(attempt.ended_at),
        failure_class=verdict and verdict.failure_class.value,
        reason=(verdict and verdict.reason) or None,
        exit_code=verdict and verdict.exit_code,
        process=verdict and verdict.process,
        node=verdict and verdict.node,
        message=verdict and verdict.message[:MESSAGE_KEPT],
        first_step=attempt.first_step,
        step=attempt.step,
        loss=attempt.loss,
        checkpoint_step=attempt.checkpoint_step,
        checkpoint=attempt.checkpoint,
        wanted_hosts=attempt.wanted_hosts,
        next_hosts=verdict and verdict.next_hosts,
        spec_digest=attempt.digest,
        queue=attempt.queue,
        admitted=None if attempt.admitted_at is None else timestamp(attempt.admitted_at),
        process_started=None if attempt.process_started_at is None else timestamp(attempt.process_started_at),
        last_phase=None if attempt.phase_seconds is None else attempt.last_phase.value,
        phase_seconds=_rounded(attempt.phase_seconds),
        data_wait_seconds=None if attempt.data_wait_seconds is None else round(attempt.data_wait_seconds, 3),
        steps_lost=_lost(attempt, lost),
        seconds_to_next_step=attempt.seconds_to_next_step,
    )


def _phases(spent: Mapping[str, float] | None) -> dict[Phase, float] | None:
    return None if spent is None else {Phase(phase): seconds for phase, seconds in spent.items()}


def _rounded(spent: Mapping[Phase, float] | None) -> dict[str, float] | None:
    return None if spent is None else {phase.value: round(seconds, 3) for phase, seconds in spent.items() if seconds}


def _lost(attempt: Attempt, lost: int | None) -> int | None:
    """Of an attempt that runs, or is complete, nothing is lost."""
    if attempt.verdict is None or attempt.verdict.failure_class is FailureClass.DONE:
        return None
    return attempt.steps_lost if lost is None else lost


def from_status(entry: AttemptStatus) -> Attempt:
    """The attempt that `to_status` wrote."""

    verdict = None
    if entry.failure_class is not None:
        exit_code = 1 if entry.exit_code is None else entry.exit_code
        verdict = Verdict(
            failure_class=FailureClass(entry.failure_class),
            exit_code=exit_code,
            message=entry.message or "",
            retry=may_retry(FailureClass(entry.failure_class), exit_code),
            reason=entry.reason or "",
            process=entry.process,
            node=entry.node,
            next_hosts=entry.next_hosts,
        )
    return Attempt(
        number=entry.number,
        hosts=entry.hosts,
        started_at=seconds(entry.started),
        ended_at=None if entry.ended is None else seconds(entry.ended),
        verdict=verdict,
        first_step=entry.first_step,
        step=entry.step,
        loss=entry.loss,
        checkpoint_step=entry.checkpoint_step,
        checkpoint=entry.checkpoint,
        wanted_hosts=entry.wanted_hosts,
        digest=entry.spec_digest,
        queue=entry.queue,
        admitted_at=None if entry.admitted is None else seconds(entry.admitted),
        process_started_at=None if entry.process_started is None else seconds(entry.process_started),
        last_phase=Phase(entry.last_phase or Phase.STARTING),
        phase_seconds=_phases(entry.phase_seconds),
        data_wait_seconds=entry.data_wait_seconds,
        seconds_to_next_step=entry.seconds_to_next_step,
    )


def timestamp(at: float) -> str:
    """Seconds since the epoch as Kubernetes writes them, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(text: str) -> float:
    """Kubernetes' time as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
