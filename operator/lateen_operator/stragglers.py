"""Whether one process holds the others up, and for how long it has. Pure.

All processes end a step together: what one of them needs between two steps, the devices of all wait for.
"""

from dataclasses import dataclass

from lateen_api.progress import SlowestProcess

SLOW_FOR_SECONDS = 300.0
"""A process is a straggler once all reports of so long have named it as slow."""

_OF_STEP = 0.25
_TIMES_THE_OTHERS = 3.0


@dataclass(frozen=True)
class SlowProcess:
    """A process that holds the others up."""

    process: int
    """Its number."""

    since: float
    """When it was reported first, of reports that all name it: seconds since the epoch."""


def is_slow(report: SlowestProcess) -> bool:
    """Do the others wait for this process for more than a quarter of the step, and its devices more than three times as
    long for it as theirs for them? Where all read their data slowly, none holds the others up."""
    held_up = report.idle_seconds - report.others_idle_seconds
    return held_up > _OF_STEP * report.step_seconds and report.idle_seconds > (
        _TIMES_THE_OTHERS * report.others_idle_seconds
    )


def slow_process(before: SlowProcess | None, report: SlowestProcess | None, now: float) -> SlowProcess | None:
    """The process that is slow after this report.

    Args:
        before: the one before it.
        report: what process 0 says.
        now: seconds since the epoch.
    """
    if report is None or not is_slow(report):
        return None
    if before is not None and before.process == report.process:
        return before
    return SlowProcess(report.process, now)


def explain(report: SlowestProcess, node: str | None) -> tuple[str, str]:
    """The reason of the condition Straggling, and its message.

    Args:
        report: about a process that is slow.
        node: that it runs on, where there are nodes.
    """
    of_data = report.data_wait_seconds >= report.idle_seconds / 2
    idle, others = f"{report.idle_seconds:.3g} s", f"{report.others_idle_seconds:.3g} s"
    where = f" on {node}" if node else ""
    why = f", {report.data_wait_seconds:.3g} s of them for its data" if of_data else ""
    advice = (
        "Its disk or its network is slow: put spec.data.cacheDir on a faster volume, or move the pod to another node"
        if of_data
        else "Its CPU is slow or busy: raise spec.compute.cpu, or move the pod to another node"
    )
    message = (
        f"All processes wait for process {report.process}{where}: its devices have nothing to do for up to {idle} of "
        f"each step of {report.step_seconds:.3g} s{why}, those of the other processes for {others} (median). {advice} "
        "(docs/runbooks/LateenStraggler.md)."
    )
    return "SlowData" if of_data else "SlowHost", message
