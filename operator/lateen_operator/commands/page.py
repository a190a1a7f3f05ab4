"""What `lateen status` shows: a job's status as a page for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lateen_api.status import AttemptStatus, AvoidedNodeStatus, Condition, ConditionType, JobStatus, TimeStatus
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lateen_operator import wording
from lateen_operator.attempt_codec import seconds
from lateen_operator.goodput import total

BAR_WIDTH = 32
ATTEMPTS_SHOWN = 10

_TOLD_IF_TRUE = (
    ConditionType.BLOCKED,
    ConditionType.QUEUED,
    ConditionType.DEGRADED,
    ConditionType.STRAGGLING,
    ConditionType.SUSPENDED,
    ConditionType.COMPLETE,
    ConditionType.FAILED,
)

_STYLE_OF_STATE = {
    "Complete": "bold green",
    "Failed": "bold red",
    "Refused": "bold red",
    "Blocked": "bold red",
    "Suspended": "bold yellow",
}
_STYLE_OF_CONDITION = {
    ConditionType.ACCEPTED: "red",
    ConditionType.BLOCKED: "red",
    ConditionType.FAILED: "red",
    ConditionType.DEGRADED: "yellow",
    ConditionType.STRAGGLING: "yellow",
    ConditionType.COMPLETE: "green",
}


@dataclass(frozen=True)
class JobView:
    """The parts of a resource that are shown."""

    name: str
    namespace: str
    suspend: bool
    status: JobStatus

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "JobView":
        """From the resource as the API server sends it."""
        metadata = body["metadata"]
        return cls(
            metadata["name"],
            metadata["namespace"],
            bool(body.get("spec", {}).get("suspend")),
            JobStatus.model_validate(body.get("status") or {}),
        )

    def holds(self, condition: ConditionType) -> bool:
        """Is the condition True?"""
        return any(one.type is condition and one.status == "True" for one in self.status.conditions)


def page(job: JobView, now: float) -> RenderableType:
    """The page.

    Args:
        job: what is shown.
        now: seconds since the epoch.
    """
    status = job.status
    parts: list[RenderableType] = [_heading(job)]
    if status.progress is not None:
        parts += [_bar(status), _figures(status, now)]
    if status.progress is not None and status.time is not None:
        parts.append(_time(status.time))
    parts += [_condition(one) for one in _news(status.conditions)]
    if not status.conditions:
        parts.append(Text("Nothing is known of it yet: is the operator running?", "yellow"))
    if status.plan is not None:
        parts += [Text(f"Note: {warning}", "dim") for warning in status.plan.warnings]
    parts += [_avoided(node, now) for node in status.avoided_nodes if seconds(node.until) > now]
    if status.attempts:
        parts += [Text(), _attempts(status, now)]
    return Padding(Group(*parts), (0, 1))


def _heading(job: JobView) -> Text:
    status, plan = job.status, job.status.plan
    heading = Text(job.name, "bold")
    heading.append(f"  {job.namespace}", "not bold dim")
    heading.append(f"  {status.state or 'Unknown'}", f"not bold {_STYLE_OF_STATE.get(status.state, 'bold')}")
    if plan is not None:
        hosts = wording.count(status.hosts, "host") if status.hosts else "no hosts"
        model = f"{plan.parameters:,} parameters, {plan.tokens_per_step:,} tokens a step"
        heading.append(f"  {plan.accelerator}, {hosts}, mesh {plan.mesh}, {model}", "not bold dim")
    return heading


def _bar(status: JobStatus) -> RenderableType:
    progress = status.progress
    assert progress is not None
    table = Table.grid(padding=(0, 2, 0, 0))
    cells: list[RenderableType] = [
        ProgressBar(total=max(1, progress.of), completed=progress.step, width=BAR_WIDTH),
        Text(f"{progress.percent} %", "bold"),
        Text(f"step {progress.step:,} of {progress.of:,}"),
    ]
    if progress.phase not in (None, "Training"):
        cells.append(Text(progress.phase or "", "yellow"))
    if progress.eta is not None:
        cells.append(Text(f"ETA {progress.eta}"))
    table.add_row(*cells)
    return table


def _figures(status: JobStatus, now: float) -> Text:
    progress, saved = status.progress, status.last_checkpoint
    assert progress is not None
    figures = [
        ("loss", None if progress.loss is None else wording.loss(progress.loss)),
        ("validation loss", None if progress.validation_loss is None else wording.loss(progress.validation_loss)),
        ("tokens/s", None if progress.tokens_per_second is None else f"{progress.tokens_per_second:,.0f}"),
        ("MFU", None if progress.mfu is None else f"{progress.mfu:.0%}"),
        ("goodput", None if status.goodput is None else f"{status.goodput:.1%}"),
        ("checkpoint", None if saved is None else f"step {saved.step:,}, {_ago(saved.time, now)}, {saved.path}"),
    ]
    line = Text()
    for name, value in figures:
        if value is not None:
            line.append("   " if line else "").append(f"{name} ", "dim").append(value)
    return line


def _time(parts: TimeStatus) -> Text:
    """Where the time went, the largest part first; parts below half a percent are left out."""
    spent = sorted(parts.model_dump().items(), key=lambda part: -part[1])
    whole = total(parts)
    line = Text("time ", "dim")
    for name, part in spent:
        if whole and part / whole >= 0.005:
            line.append(f"{part / whole:.0%} ").append(f"{name.replace('_', ' ')}   ", "dim")
    line.rstrip()
    return line


def _news(conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions that are worth a line."""
    told = [one for one in conditions if (one.type in _TOLD_IF_TRUE and one.status == "True") or _is_refusal(one)]
    if all(one.type in (ConditionType.DEGRADED, ConditionType.STRAGGLING) for one in told):
        # Why it does not run, if nothing else says so: it starts, or starts again.
        told += [one for one in conditions if one.type is ConditionType.RUNNING and one.status == "False"]
    return told


def _is_refusal(condition: Condition) -> bool:
    return condition.type is ConditionType.ACCEPTED and condition.status == "False"


def _condition(condition: Condition) -> Text:
    style = _STYLE_OF_CONDITION.get(condition.type, "")
    holds = condition.status == "True"
    name = condition.type.value if holds else f"Not {condition.type.value.lower()}"
    return Text(f"{name} ({condition.reason}): ", style).append(wording.printable(condition.message), "default")


def _avoided(node: AvoidedNodeStatus, now: float) -> Text:
    heading = f"Avoids {node.name} for {wording.duration(seconds(node.until) - now)} ({node.reason}): "
    return Text(heading, "yellow").append(wording.printable(node.message), "default")


def _attempts(status: JobStatus, now: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    for heading in ("attempt", "hosts", "steps", "lasted", "lost", "to next step"):
        table.add_column(heading, justify="right")
    table.add_column("why it ended", overflow="fold")
    shown = status.attempts[-ATTEMPTS_SHOWN:]
    for attempt in shown:
        table.add_row(*_attempt(attempt, now))
    older = status.attempt_count - len(shown)
    if older > 0:
        table.caption = f"{wording.count(older, 'older attempt')} not shown"
    return table


def _attempt(attempt: AttemptStatus, now: float) -> tuple[str, ...]:
    ended = now if attempt.ended is None else seconds(attempt.ended)
    steps = "–" if attempt.first_step is None else f"{attempt.first_step:,} → {attempt.step or attempt.first_step:,}"
    return (
        str(attempt.number),
        str(attempt.hosts),
        steps,
        wording.duration(ended - seconds(attempt.started)),
        "–" if attempt.steps_lost is None else f"{attempt.steps_lost:,}",
        "–" if attempt.seconds_to_next_step is None else wording.duration(attempt.seconds_to_next_step),
        _why(attempt),
    )


def _why(attempt: AttemptStatus) -> str:
    if attempt.failure_class is None:
        return "it runs"
    parts = [attempt.failure_class, *([f"({attempt.reason})"] if attempt.reason else [])]
    where = f" on {attempt.node}" if attempt.node else ""
    message = f": {wording.printable(attempt.message)}" if attempt.message else ""
    return f"{' '.join(parts)}{where}{message}"


def _ago(timestamp: str, now: float) -> str:
    return f"{wording.duration(now - seconds(timestamp))} ago"
