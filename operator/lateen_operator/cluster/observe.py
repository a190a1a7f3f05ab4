"""From what is known of a job's objects to what a decision depends on. Pure.

A process is a place in the attempt (slice and host), not a pod: it waits while it has none, and it has ended once its
first pod has.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from lateen_api.errors import JobError
from lateen_api.termination import ExitCode

from lateen_operator.attempts import Attempt
from lateen_operator.cluster.informer_cache import JobObjects
from lateen_operator.cluster.ledger import ledger_of
from lateen_operator.cluster.preparation import preparation_of
from lateen_operator.cluster.process_exits import ended, overdue_at, process_exits, unseen_exit
from lateen_operator.cluster.termination import Termination
from lateen_operator.cluster.views import JobSetView, PodView
from lateen_operator.observation import WAITING_FOR_ADMISSION, Admission, Observation, Process, Target
from lateen_operator.process_exit import JOB_SET_SUSPENDED, POD_DELETED, SUSPENDED_BY_QUEUE, ProcessExit
from lateen_operator.progress_history import ProgressHistory, update_from_exit, update_from_progress

STOPPED_WITHIN_SECONDS = 10.0
"""JobSet has suspended its Jobs by then, whether it says so or not."""


def observe(
    objects: JobObjects, target: Target, refusal: JobError | None, answers: ProgressHistory | None, now: float
) -> Observation:
    """What is the case with a job.

    Args:
        objects: what is known of it in the cluster.
        target: what it asks for now; while it is refused, what it asked for before.
        refusal: why it cannot run as it is written now.
        answers: what process 0 has said.
        now: seconds since the epoch.
    """
    ledger = ledger_of(objects)
    seen = Observation(
        target=target,
        created_at=objects.job.created_at if objects.job else None,
        attempts=ledger.attempts,
        forgotten=ledger.forgotten,
        refusal=refusal,
        preparation=preparation_of(objects, target, answers),
        stop_requests=int(objects.job is not None and objects.job.suspended),
    )
    attempt = seen.attempt
    if attempt is None:
        return seen
    job_set = job_set_of(objects, attempt.number)
    # One that is gone told why it was stopped as long as it was there.
    last_job_set = job_set or objects.gone_job_sets.get(attempt.number)
    stopping = stopping_of(last_job_set)
    terminating_since = stopping.terminating_since if stopping else None
    pods = _first_pods(pods_of(objects, attempt, job_set), job_set, attempt, now)
    ends = process_exits(pods, terminating_since, now, deleted=_deletion_is(last_job_set))
    said = answers if answers is not None and answers.attempt == attempt.number else None
    # One whose pod is being deleted need not answer any more: it is given up when its grace is over.
    answers_now = 0 in pods and pods[0].running and pods[0].deadline is None
    asked = said if said is not None and answers_now else None
    progress = said.progress if said else None
    attempt = update_from_progress(attempt, progress)
    processes, complete_at = _processes(attempt, job_set, pods, ends, terminating_since, now)
    for process in processes:
        attempt = attempt if process.end is None else update_from_exit(attempt, process.end)
    admission = _awaited_admission(job_set, processes)
    attempt = _with_queue(attempt, job_set, waits=admission is not None)
    overdue = [at for number, pod in pods.items() if number not in ends and (at := overdue_at(pod)) is not None]
    return replace(
        seen,
        attempts=(*seen.attempts[:-1], attempt),
        processes=processes,
        terminating_since=terminating_since,
        killed=terminating_since is not None,
        cause=stopping.cause if stopping else None,
        progress=progress,
        silent_since=asked.silent_since if asked else None,
        moved_at=asked.moved_at if asked else None,
        slow=asked.slow if asked else None,
        probes_placed=sum(pod.placed_at is not None and pod.deadline is None for pod in probes_of(objects)),
        admission=admission,
        requeue_at=min([*overdue, complete_at], default=math.inf),
    )


def job_set_of(objects: JobObjects, attempt: int) -> JobSetView | None:
    """The JobSet of an attempt; None: there is none (any more)."""
    return next((one for one in objects.attempt_job_sets if one.attempt == attempt), None)


def probes_of(objects: JobObjects) -> list[PodView]:
    """Pods that look for free machines."""
    return [pod for pod in objects.own(objects.pods.values()) if pod.attempt is None]


def stopping_of(job_set: JobSetView | None) -> Termination | None:
    """Were the attempt's pods asked to terminate, and why?"""
    if job_set is None or job_set.stopping is None:
        return None
    try:
        return Termination.from_json(job_set.stopping)
    except ValueError:
        # Somebody wrote there. That the attempt is stopped is true if its JobSet is suspended.
        return Termination(job_set.created_at) if job_set.suspended else None


def pods_of(objects: JobObjects, attempt: Attempt, job_set: JobSetView | None) -> list[PodView]:
    """All pods of an attempt, those that are gone included, oldest first."""
    since = job_set.created_at if job_set else objects.job.created_at if objects.job else 0.0
    known: Iterable[PodView] = (*objects.gone.values(), *objects.pods.values())
    # A job deleted and made again has the names of the former one.
    of_attempt = [pod for pod in known if pod.attempt == attempt.number and pod.created_at >= since]
    return sorted(of_attempt, key=lambda pod: (pod.created_at, pod.version))


def _first_pods(pods: list[PodView], job_set: JobSetView | None, attempt: Attempt, now: float) -> dict[int, PodView]:
    """The pod of each process: the first that ended, or else the newest."""
    slices = job_set.slices if job_set else max((pod.slice_index for pod in pods), default=0) + 1
    hosts = job_set.hosts_per_slice if job_set else max(1, attempt.hosts // slices)
    first: dict[int, PodView] = {}
    for pod in pods:
        number = pod.slice_index * hosts + pod.host_index
        if number not in first or ended(first[number], now) is None:
            first[number] = pod
    return first


def _processes(
    attempt: Attempt,
    job_set: JobSetView | None,
    pods: dict[int, PodView],
    ends: dict[int, ProcessExit],
    terminating_since: float | None,
    now: float,
) -> tuple[tuple[Process, ...], float]:
    """All processes, and when those without a pod count as ended."""
    if job_set is None:
        # Deleted by somebody. What has no pod will get none.
        return tuple(_process(number, pods[number], ends.get(number)) for number in sorted(pods)), math.inf
    over_at = _no_more_pods_from(attempt, job_set, terminating_since)
    processes = []
    for number in range(job_set.hosts):
        if number in pods:
            processes.append(_process(number, pods[number], ends.get(number)))
        elif now >= over_at:
            end = _missing(number, job_set, ends, terminating_since, over_at)
            processes.append(Process(number, placed=False, running=False, end=end))
        else:
            processes.append(_without_pod(number, attempt, job_set, pods))
    return tuple(processes), over_at if over_at > now and len(pods) < job_set.hosts else math.inf


def _process(number: int, pod: PodView, end: ProcessExit | None) -> Process:
    placed = pod.placed_at is not None or pod.node is not None
    return Process(
        number,
        placed=placed,
        running=pod.running,
        end=end,
        node=pod.node,
        waiting_for=None if end or pod.running else pod.waiting_for,
        waiting_since=pod.placed_at if placed and not pod.running and end is None else None,
    )


def _without_pod(number: int, attempt: Attempt, job_set: JobSetView, pods: dict[int, PodView]) -> Process:
    """A process that has no pod yet, and may get one.

    Its time runs (`startDeadline`): who is refused pods may be refused them for ever. Not in a queue, nor while the
    first pod of its slice waits for a machine, before which JobSet creates no other; nor when the attempt has run,
    since then its pod is not one that was never created.
    """
    leader = pods.get(number - number % job_set.hosts_per_slice)
    waits_for_machine = leader is not None and leader.placed_at is None and leader.node is None
    is_late = not (job_set.suspended or waits_for_machine or attempt.first_step is not None)
    return Process(
        number,
        placed=False,
        running=False,
        pod_missing=not job_set.suspended,
        waiting_for=_no_pod_because(job_set),
        waiting_since=job_set.may_have_pods_since if is_late else None,
    )


def _no_more_pods_from(attempt: Attempt, job_set: JobSetView, terminating_since: float | None) -> float:
    """From when on a process without a pod gets none: now, in a moment, or (infinity) it may get one."""
    is_stopped = job_set.suspended and job_set.stopped_at is not None
    if job_set.ended is not None or job_set.deadline is not None:
        return -math.inf
    if terminating_since is not None:
        return -math.inf if is_stopped else terminating_since + STOPPED_WITHIN_SECONDS
    # Suspended by somebody else when it had trained already. Before that it waits: so do JobSets that a queue has not
    # admitted yet.
    return -math.inf if is_stopped and attempt.first_step is not None else math.inf


def _missing(
    number: int, job_set: JobSetView, ends: dict[int, ProcessExit], terminating_since: float | None, over_at: float
) -> ProcessExit:
    """How a process ended whose pod nobody saw end."""
    at = job_set.ended_at or job_set.deadline or terminating_since or job_set.stopped_at or max(over_at, 0.0)
    if job_set.ended == "Completed":
        return ProcessExit(number, ExitCode.DONE, at)
    return unseen_exit(number, at, ends.values(), terminating_since, deleted=_deletion_is(job_set))


def _deletion_is(job_set: JobSetView | None) -> str:
    """The reason of deletions of pods that follow from no other process's end and are not by us."""
    if job_set is None or not job_set.suspended:
        return POD_DELETED
    if job_set.queue is not None:
        # We never suspend one that is in a queue, so it was the queue, whatever we did after that.
        return SUSPENDED_BY_QUEUE
    return JOB_SET_SUSPENDED if job_set.stopping is None else POD_DELETED


def _awaited_admission(job_set: JobSetView | None, processes: Iterable[Process]) -> Admission | None:
    """That a queue is waited for; its own words have to be asked for."""
    if job_set is None or job_set.queue is None or not job_set.suspended or job_set.stopping is not None:
        return None
    if any(process.placed or process.end is not None for process in processes):
        return None
    return Admission(WAITING_FOR_ADMISSION, f"Queue {job_set.queue} has not admitted it yet.")


def _with_queue(attempt: Attempt, job_set: JobSetView | None, *, waits: bool) -> Attempt:
    """The attempt with its queue, and when that admitted it. One that has run and is suspended was admitted before."""
    if job_set is None or job_set.queue is None:
        return attempt
    admitted_at = None if waits else attempt.admitted_at
    if not job_set.suspended:
        admitted_at = job_set.may_have_pods_since
    return replace(attempt, queue=job_set.queue, admitted_at=admitted_at)


def _no_pod_because(job_set: JobSetView) -> str:
    if not job_set.suspended:
        return "its pod is not created yet"
    return f"admission by queue {job_set.queue}" if job_set.queue else "its JobSet is suspended"
