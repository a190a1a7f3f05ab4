"""The ledger of a job's attempts, put together from all places where a trace of them is. Pure.

The status has it. Should it be wiped, or an operator die before it wrote, then the newest attempt's ConfigMap holds
the ledger as of that attempt's start, and a JobSet that nobody wrote down is an attempt all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lateen_api.outcome import ExitCode
from lateen_api.status import JobStatus

from lateen_operator.attempts import Attempt
from lateen_operator.cluster.store import JobObjects
from lateen_operator.cluster.views import JobSetView
from lateen_operator.describe import forgotten
from lateen_operator.record import from_status
from lateen_operator.verdict import Kind, Verdict


@dataclass(frozen=True)
class Ledger:
    """The attempts of a job."""

    attempts: tuple[Attempt, ...]
    """Oldest first; only the last may have no verdict."""

    forgotten: dict[Kind, int]
    """What older attempts of the last one's text took from each budget."""


def present_status(objects: JobObjects) -> JobStatus:
    """The status of the job as it stands there."""
    try:
        return objects.job.status if objects.job else JobStatus()
    except ValueError:
        # Written by somebody who does not know what a status is; ours replaces it.
        return JobStatus()


def stored_status(objects: JobObjects) -> JobStatus:
    """The status of the job; where it was wiped, the ledger and budgets of the newest attempt's start."""
    status = present_status(objects)
    if status.attempts:
        return status
    newest = max(objects.own(objects.config_maps.values()), key=lambda view: view.attempt, default=None)
    if newest is None:
        return status
    try:
        kept = JobStatus.model_validate_json(newest.ledger)
    except ValueError:
        return status
    return status.model_copy(update={"attempts": kept.attempts, "budgets": kept.budgets})


def ledger_of(objects: JobObjects) -> Ledger:
    """The ledger, from status, ConfigMaps and JobSets."""
    status = stored_status(objects)
    written = [from_status(entry) for entry in status.attempts]
    known = {attempt.number: attempt for attempt in written}
    oldest = min(known, default=0)
    for job_set in sorted(objects.own(objects.job_sets.values()), key=lambda view: view.attempt):
        # One that is older than the ledger is no news: the ledger keeps the newest attempts only.
        if job_set.attempt not in known and job_set.attempt >= oldest:
            known[job_set.attempt] = _found(job_set)
    attempts = [known[number] for number in sorted(known)]
    for index in range(len(attempts) - 1):
        attempts[index] = _closed(attempts[index], attempts[index + 1])
    attempts = [_with_checkpoint(attempts, index) for index in range(len(attempts))]
    # An attempt that nobody wrote down may be the first of another text, on which nothing is spent yet.
    is_changed = bool(attempts and written) and attempts[-1].digest != written[-1].digest
    return Ledger(tuple(attempts), {} if is_changed else forgotten(status, written))


def _found(job_set: JobSetView) -> Attempt:
    """An attempt of which only its JobSet tells."""
    return Attempt(
        number=job_set.attempt,
        hosts=job_set.hosts,
        started_at=job_set.created_at,
        wanted_hosts=job_set.wanted_hosts,
        digest=job_set.digest,
    )


def _closed(attempt: Attempt, following: Attempt) -> Attempt:
    """An attempt that another followed has ended, also when nobody wrote down how."""
    if attempt.verdict is not None:
        return attempt
    lost = Verdict(Kind.PLANNED, ExitCode.NOT_SAVED, "how it ended was not written down", reason="NotRecorded")
    return replace(attempt, verdict=lost, ended_at=following.started_at)


def _with_checkpoint(attempts: Sequence[Attempt], index: int) -> Attempt:
    """An attempt goes on from the checkpoint of the one before it, until it has one of its own."""
    attempt = attempts[index]
    if attempt.checkpoint_step is not None or index == 0:
        return attempt
    before = attempts[index - 1]
    return replace(attempt, checkpoint_step=before.checkpoint_step, checkpoint=before.checkpoint)
