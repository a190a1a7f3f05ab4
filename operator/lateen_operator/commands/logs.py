"""`lateen logs`: what a trainer wrote, across attempts while it is followed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from lateen_api.environment import PREFIX
from lateen_api.status import ConditionType
from lateen_api.termination import ExitCode

from lateen_operator import names
from lateen_operator.commands.cluster import Cluster
from lateen_operator.commands.errors import CommandError
from lateen_operator.commands.page import JobView

Pod = dict[str, Any]
"""As the API server sends it."""

LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Logs:
    """Which log is wanted."""

    process: int = 0
    attempt: int | None = None
    """None: the newest one, and when followed those after it."""

    previous: bool = False
    """The attempt before the newest one."""

    follow: bool = False
    tail: int | None = None
    """Last lines only."""


def print_logs(
    cluster: Cluster,
    name: str,
    wanted: Logs,
    out: BinaryIO,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Copies the log to `out`, and tells on `say` what is no part of it.

    Raises:
        CommandError: there is no such job, attempt or process, or its pod is gone.
    """
    job = JobView.of(cluster.job(name))
    number = _attempt(job, wanted)
    while True:
        pod = _started_pod(cluster, job, number, wanted, say, sleep)
        if wanted.follow:
            say(f"Attempt {number}, process {wanted.process} (pod {_name(pod)})")
        for piece in cluster.log(_name(pod), follow=wanted.follow, tail=wanted.tail):
            out.write(piece)
            out.flush()
        if not wanted.follow or wanted.attempt is not None or wanted.previous:
            return
        following = _next_attempt(cluster, name, number, say, sleep)
        if following is None:
            return
        job, number = following


def process_of(pod: Pod) -> int:
    """Number of a pod's process: slice index × hosts of a slice + host index."""
    labels = pod["metadata"].get("labels", {})
    variables = {one["name"]: one.get("value") for one in _trainer(pod["spec"]["containers"]).get("env", ())}
    slice_index = int(labels.get(names.JOB_INDEX_LABEL, 0))
    hosts = int(variables.get(f"{PREFIX}HOSTS_PER_SLICE") or 1)
    return slice_index * hosts + int(labels.get(names.COMPLETION_INDEX_LABEL, 0))


def _attempt(job: JobView, wanted: Logs) -> int:
    newest = job.status.attempt_count
    if newest == 0:
        why = next((one.message for one in job.status.conditions if one.status == "False"), "")
        raise CommandError(f"{job.name} has had no attempt yet, so there is no log. {why}".rstrip())
    number = wanted.attempt or (newest - 1 if wanted.previous else newest)
    if not 1 <= number <= newest:
        expected = "there is only one" if newest == 1 else f"expected 1 to {newest}"
        asked = "an attempt before the newest" if wanted.previous else f"an attempt {number}"
        raise CommandError(f"{job.name} has not had {asked}: {expected}.", ExitCode.USER_ERROR)
    return number


def _started_pod(
    cluster: Cluster,
    job: JobView,
    number: int,
    wanted: Logs,
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> Pod:
    """The pod of the process, once its program has started. A log that is followed is waited for."""
    said = ""
    while True:
        pods = {process_of(pod): pod for pod in cluster.pods(job.name, number)}
        pod = pods.get(wanted.process)
        waits = _waits(pod) if pod is not None else "its pod does not exist"
        if pod is not None and waits is None:
            return pod
        is_newest = number == job.status.attempt_count
        may_come = wanted.follow and is_newest and not _has_ended(job) and (pod is not None or not pods)
        if not may_come:
            does_not_exist = bool(pods) and wanted.process not in pods
            exit_code = ExitCode.USER_ERROR if does_not_exist else ExitCode.ERROR
            raise CommandError(_missing(job, number, wanted.process, pods, waits), exit_code)
        if waits != said:
            say(f"Process {wanted.process} of attempt {number} waits: {waits}")
            said = waits
        sleep(LOOK_SECONDS)
        job = JobView.of(cluster.job(job.name))
        if job.status.attempt_count > number and wanted.attempt is None:
            number = job.status.attempt_count


def _missing(job: JobView, number: int, process: int, pods: dict[int, Pod], waits: str | None) -> str:
    if process in pods:
        return f"Process {process} of attempt {number} has no log yet: {waits}. Follow it with -f."
    if pods:
        return f"Attempt {number} has no process {process}: expected 0 to {max(pods)}."
    hint = (
        "Pods of earlier attempts are deleted when a new one has begun; `lateen status` keeps why they ended."
        if number < job.status.attempt_count
        else f"The job is {job.status.state or 'new'}."
    )
    return f"The pods of attempt {number} are gone, and their logs with them. {hint}"


def _waits(pod: Pod) -> str | None:
    """Why the trainer has not started, or None if it has."""
    status = pod.get("status", {})
    state = _trainer(status.get("containerStatuses", ())).get("state", {})
    if state and "waiting" not in state:
        return None
    if state:
        waiting = state["waiting"]
        return ": ".join(waiting[part] for part in ("reason", "message") if waiting.get(part))
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"no node yet: {condition.get('message') or condition.get('reason')}"
    return "its pod is being started"


def _trainer(containers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return next((one for one in containers if one["name"] == names.CONTAINER), {})


def _next_attempt(
    cluster: Cluster, name: str, number: int, say: Callable[[str], None], sleep: Callable[[float], None]
) -> tuple[JobView, int] | None:
    """The job once it has a newer attempt; None: it has ended, or rests."""
    while True:
        job = JobView.of(cluster.job(name))
        if job.status.attempt_count > number:
            return job, job.status.attempt_count
        if _has_ended(job):
            say(f"{name} is {job.status.state}.")
            return None
        sleep(LOOK_SECONDS)


def _has_ended(job: JobView) -> bool:
    return any(job.holds(one) for one in (ConditionType.COMPLETE, ConditionType.FAILED, ConditionType.SUSPENDED))


def _name(pod: Pod) -> str:
    return pod["metadata"]["name"]
