"""`lateen stop` and `lateen resume`: they write `spec.suspend`, the operator does the rest."""

import time
from collections.abc import Callable

from lateen_api.status import ConditionType
from lateen_api.termination import ExitCode

from lateen_operator.commands.cluster import Cluster
from lateen_operator.commands.errors import CommandError
from lateen_operator.commands.page import JobView

LOOK_SECONDS = 1.0


def stop(
    cluster: Cluster,
    name: str,
    *,
    timeout: float | None,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Lets the job save and free its machines.

    Args:
        cluster: where it is.
        name: of the job.
        timeout: seconds to wait until it has stopped; None: do not wait.
        say: is told what happens.
        clock: seconds.
        sleep: waits for so many seconds.

    Raises:
        CommandError: there is no such job, it has ended, or it did not stop in time.
    """
    job = JobView.of(cluster.job(name))
    _check_unfinished(job, "stop")
    if not job.suspend:
        job = JobView.of(cluster.set_suspend(name, True))
    if timeout is None:
        say(f"{name} was asked to save and stop. `lateen status {name}` shows when it has.")
        return
    deadline = clock() + timeout
    while not job.holds(ConditionType.SUSPENDED):
        if job.holds(ConditionType.COMPLETE) or job.holds(ConditionType.FAILED):
            say(f"{name} ended before it could be stopped: {job.status.state}.")
            return
        if not job.suspend:
            raise CommandError(f"{name} was resumed by somebody else meanwhile.")
        if clock() >= deadline:
            raise CommandError(
                f"{name} was asked to stop, but has not within {timeout:.0f} s: it is {job.status.state or 'unknown'}. "
                f"`lateen status {name}` shows more; without a running operator nothing happens."
            )
        sleep(LOOK_SECONDS)
        job = JobView.of(cluster.job(name))
    say(f"{name} has stopped{_where(job)}. `lateen resume {name}` goes on.")


def resume(cluster: Cluster, name: str, *, say: Callable[[str], None]) -> None:
    """Lets a stopped job go on.

    Raises:
        CommandError: there is no such job, or it has ended.
    """
    job = JobView.of(cluster.job(name))
    _check_unfinished(job, "resume")
    if not job.suspend:
        say(f"{name} is not stopped: it is {job.status.state or 'new'}.")
        return
    cluster.set_suspend(name, False)
    say(f"{name} goes on{_where(job)} as soon as there are machines. `lateen status {name} --watch` shows it.")


def _check_unfinished(job: JobView, verb: str) -> None:
    if job.holds(ConditionType.COMPLETE):
        raise CommandError(f"{job.name} is complete: there is nothing to {verb}.", ExitCode.USER_ERROR)
    if job.holds(ConditionType.FAILED):
        raise CommandError(
            f"{job.name} has failed: there is nothing to {verb}. `lateen status {job.name}` says why; "
            "it is tried again when its spec is changed.",
            ExitCode.USER_ERROR,
        )


def _where(job: JobView) -> str:
    saved = job.status.last_checkpoint
    return "" if saved is None else f" at the checkpoint of step {saved.step:,}"
