"""How far the builders of a job's token caches are, from their JobSet, their pods and what the status keeps. Pure.

Their Job restarts them (`manifests.builders`), so its end is the end of all tries.
"""

from collections.abc import Sequence
from dataclasses import replace

from lateen_api.status import DataStatus
from lateen_api.termination import ExitCode

from lateen_operator.attempts import Finish
from lateen_operator.cluster.informer_cache import JobObjects
from lateen_operator.cluster.ledger import present_status
from lateen_operator.cluster.process_exits import termination_message
from lateen_operator.cluster.times import epoch
from lateen_operator.cluster.views import JobSetView, PodView
from lateen_operator.names import BUILDERS_ATTEMPT
from lateen_operator.observation import Observation, Preparation, Target
from lateen_operator.process_exit import FailureClass, ProcessExit
from lateen_operator.progress_history import ProgressHistory
from lateen_operator.reconcile import Decision, Expire, Fail, Refuse
from lateen_operator.verdict import Verdict, classify
from lateen_operator.wording import count

_NEVER_AGAIN = (ExitCode.USER_ERROR, ExitCode.BAD_DATA)


def preparation_of(objects: JobObjects, target: Target, answers: ProgressHistory | None) -> Preparation | None:
    """How far the builders are; None: the trainers build the caches.

    Args:
        objects: what is known of the job in the cluster.
        target: what it asks for now.
        answers: the polls of the job's trainer or builder.
    """
    if target.builders is None:
        return None
    known = _from_status(present_status(objects).data, target.builders)
    job_set = objects.builders
    if job_set is None or job_set.digest != target.builders or job_set.deadline is not None:
        return replace(known, message=None if known.whole else known.message)
    pods = builder_pods(objects, job_set)
    # A builder ends well when all parts of all caches are whole, whichever builder built them.
    whole = known.whole or job_set.ended == "Completed" or any(pod.exit_code == 0 for pod in pods)
    said = answers.progress if answers is not None and answers.attempt == BUILDERS_ATTEMPT else None
    return replace(
        known,
        ready=known.ready or whole or (said is not None and said.data_ready),
        whole=whole,
        failure=_failure(job_set, pods) if job_set.ended == "Failed" and not whole else None,
        message=None if whole else (said and said.detail) or _waiting_for(pods) or known.message,
        started_at=job_set.created_at if known.started_at is None else known.started_at,
    )


def builder_pods(objects: JobObjects, job_set: JobSetView) -> list[PodView]:
    """The builders' pods, those that are gone included, oldest first."""
    pods = [
        pod
        for pod in (*objects.gone.values(), *objects.pods.values())
        if pod.attempt == BUILDERS_ATTEMPT and pod.created_at >= job_set.created_at
    ]
    return sorted(pods, key=lambda pod: (pod.created_at, pod.version))


def wants_builders(seen: Observation, decision: Decision) -> bool:
    """Should there be builders?"""
    preparation = seen.preparation
    if preparation is None or preparation.whole or preparation.failure is not None or seen.stop_requests:
        return False
    return not isinstance(decision, Finish | Fail | Refuse | Expire)


def useless_builders(objects: JobObjects, seen: Observation, *, wanted: bool) -> JobSetView | None:
    """The builders' JobSet, if it is of another text, or goes on although no text is needed. What has ended stays with
    its logs, until the job is suspended: then builders that gave up may try again."""
    job_set, preparation = objects.builders, seen.preparation
    if job_set is None or job_set.deadline is not None:
        return None
    if job_set.digest != seen.target.builders:
        return job_set
    is_over = job_set.ended is not None and not (job_set.ended == "Failed" and seen.stop_requests)
    is_ending = preparation is not None and preparation.whole
    return None if wanted or is_over or is_ending else job_set


def _from_status(data: DataStatus | None, digest: str) -> Preparation:
    if data is None or data.digest != digest:
        return Preparation(digest)
    return Preparation(
        digest,
        ready=data.ready,
        whole=data.whole,
        message=data.message,
        started_at=epoch(data.started),
        ready_at=epoch(data.ready_time),
    )


def _failure(job_set: JobSetView, pods: Sequence[PodView]) -> Verdict:
    """Why the builders have given up: the error that no other try would change, else the last one."""
    failed = [pod for pod in pods if pod.exit_code]
    final = [pod for pod in failed if pod.exit_code in _NEVER_AGAIN]
    pod = next(iter(final), failed[-1] if failed else None)
    if pod is None or pod.exit_code is None:
        message = "the pods that tokenize (spec.data.prepare) have failed too often, and their ends are not known"
        return Verdict(FailureClass.INFRASTRUCTURE, ExitCode.ERROR, message, reason="DataPreparationFailed")
    end = ProcessExit(
        pod.host_index,
        pod.exit_code,
        pod.ended_at or job_set.ended_at or job_set.created_at,
        termination=termination_message(pod.message),
        reason=pod.reason,
        node=pod.node,
    )
    verdict = classify((end,))
    tries = "" if final else f" ({count(len(failed), 'failed pod')})"
    message = f"tokenizing by spec.data.prepare failed{tries}: {verdict.message}"
    return replace(verdict, message=message, process=None, reason="DataPreparationFailed")


def _waiting_for(pods: Sequence[PodView]) -> str | None:
    """Why none of them works yet."""
    alive = [pod for pod in pods if pod.exit_code is None and pod.gone_at is None]
    if any(pod.running for pod in alive):
        return None
    reason = next((pod.waiting_for for pod in alive if pod.waiting_for), None)
    return "the pods that tokenize are created" if reason is None else f"the pods that tokenize wait: {reason}"
