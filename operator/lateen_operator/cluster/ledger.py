"""The ledger of a job's attempts, put together from all places where a trace of them is. Pure.

The status has it. Should it be wiped, or an operator die before it wrote, then the newest attempt's ConfigMap holds
the ledger as of that attempt's start, its JobSet's annotation what was counted, posted and measured since, and a JobSet
that nobody wrote down is an attempt all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lateen_api.status import ATTEMPTS_KEPT, AttemptStatus, JobStatus
from lateen_api.termination import ExitCode

from lateen_operator.attempt_codec import from_status, to_status
from lateen_operator.attempts import Attempt
from lateen_operator.cluster.informer_cache import JobObjects
from lateen_operator.cluster.views import JobSetView
from lateen_operator.events import TOLD
from lateen_operator.process_exit import FailureClass
from lateen_operator.status_builder import forgotten
from lateen_operator.verdict import Verdict


@dataclass(frozen=True)
class Ledger:
    """The attempts of a job."""

    attempts: tuple[Attempt, ...]
    """Oldest first; only the last may have no verdict."""

    forgotten: dict[FailureClass, int]
    """What older attempts of the last one's text took from each budget."""


def present_status(objects: JobObjects) -> JobStatus:
    """The status of the job as it stands there."""
    try:
        return objects.job.status if objects.job else JobStatus()
    except ValueError:
        # Written by somebody who does not know what a status is; ours replaces it.
        return JobStatus()


def stored_status(objects: JobObjects) -> JobStatus:
    """The status of the job; where it was wiped, what other objects have kept of it."""
    status = present_status(objects)
    if status.attempts:
        return status
    kept = kept_status(objects)
    return status.model_copy(
        update={
            "attempts": kept.attempts,
            "budgets": kept.budgets,
            "time_before": kept.time_before,
            "conditions": status.conditions or kept.conditions,
        }
    )


def told_status(objects: JobObjects) -> JobStatus:
    """What has been counted and posted as events. When the status was wiped, that an attempt started was told before
    it was: else its JobSet would not be there."""
    status = stored_status(objects)
    if present_status(objects).attempts:
        return status
    return status.model_copy(update={"attempts": [to_status(attempt) for attempt in ledger_of(objects).attempts]})


def kept_status(objects: JobObjects) -> JobStatus:
    """Ledger, budgets and true conditions without the status: as of the newest attempt's start from its ConfigMap, and
    what happened since from its JobSet."""
    config_map = max(objects.attempt_config_maps, key=lambda view: view.attempt, default=None)
    job_set = max(objects.attempt_job_sets, key=lambda view: view.attempt, default=None)
    started = _status(config_map.ledger) if config_map else JobStatus()
    noted = _status(job_set.ledger) if job_set else JobStatus()
    # An operator that ended between the two left a ConfigMap that is newer than the JobSet.
    is_newer = config_map is not None and job_set is not None and config_map.attempt > job_set.attempt
    older, newer = (noted, started) if is_newer else (started, noted)
    attempts = {entry.number: entry for entry in (*older.attempts, *newer.attempts)}
    return JobStatus(
        attempts=[attempts[number] for number in sorted(attempts)][-ATTEMPTS_KEPT:],
        budgets=newer.budgets if newer.attempts else older.budgets,
        time_before=newer.time_before or older.time_before,
        conditions=noted.conditions,
    )


def news_to_keep(objects: JobObjects, status: JobStatus) -> JobStatus | None:
    """What would be counted, posted or measured again if this status were wiped, for the JobSet's annotation; None:
    nothing."""
    kept = kept_status(objects)
    known = {entry.number: entry for entry in kept.attempts}
    is_known = all(_end(entry) == _end(known.get(entry.number)) for entry in status.attempts)
    holds = [condition for condition in status.conditions if condition.type in TOLD and condition.status == "True"]
    if is_known and {c.type for c in holds} == {c.type for c in kept.conditions}:
        return None
    started = max(objects.attempt_config_maps, key=lambda view: view.attempt, default=None)
    before = {entry.number: entry for entry in _status(started.ledger).attempts} if started else {}
    changed = [entry for entry in status.attempts if _end(entry) != _end(before.get(entry.number))]
    return JobStatus(attempts=changed, budgets=status.budgets, conditions=holds, time_before=status.time_before)


def _end(entry: AttemptStatus | None) -> tuple[bool, float | None]:
    """What is counted of an attempt: that it ended, and how long it took until training went on."""
    return (entry.ended is not None, entry.seconds_to_next_step) if entry is not None else (False, None)


def _status(text: bytes) -> JobStatus:
    try:
        return JobStatus.model_validate_json(text)
    except ValueError:
        # Somebody wrote there.
        return JobStatus()


def ledger_of(objects: JobObjects) -> Ledger:
    """The ledger, from status, ConfigMaps and JobSets."""
    status = stored_status(objects)
    written = [from_status(entry) for entry in status.attempts]
    known = {attempt.number: attempt for attempt in written}
    oldest = min(known, default=0)
    for job_set in sorted(objects.attempt_job_sets, key=lambda view: view.attempt):
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
    lost = Verdict(FailureClass.PLANNED, ExitCode.NOT_SAVED, "how it ended was not written down", reason="NotRecorded")
    return replace(attempt, verdict=lost, ended_at=following.started_at)


def _with_checkpoint(attempts: Sequence[Attempt], index: int) -> Attempt:
    """An attempt goes on from the checkpoint of the one before it, until it has one of its own."""
    attempt = attempts[index]
    if attempt.checkpoint_step is not None or index == 0:
        return attempt
    before = attempts[index - 1]
    return replace(attempt, checkpoint_step=before.checkpoint_step, checkpoint=before.checkpoint)
