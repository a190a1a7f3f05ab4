"""The last thing that is printed: what was trained and where it is, or why not and what to do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lateen_api.masking import masked
from lateen_api.spec import LMTrainingJob
from lateen_api.termination import ExitCode
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lateen_operator import wording
from lateen_operator.attempts import Attempt, Fail
from lateen_operator.local.folder import RunFolder
from lateen_operator.local.messages import origin
from lateen_operator.process_exit import FailureClass
from lateen_operator.verdict import Verdict

Row = tuple[str, str]

_LOG_LINES = 12
_LOG_BYTES = 16_384
_LONGEST_SAMPLE = 800
_BAR = 24


def print_complete(console: Console, result: dict[str, Any], job: LMTrainingJob, folder: RunFolder) -> None:
    """Results of a complete run."""
    title = f"{result['name']} is trained"
    sample = shown_samples(result)
    rows = _complete_rows(result, job, folder)
    if not console.is_terminal:
        _print_lines(console, title, rows, "sample of what it writes", sample.splitlines())
        return
    parts: list[RenderableType] = [_grid(rows)]
    if bars := _bars(result):
        parts = [bars, Text(), *parts]
    if sample:
        parts += [Text(), Text("a sample of what it writes", "dim"), Text(sample, "italic")]
    console.print(Panel(Group(*parts), title=Text(title, "bold green"), padding=(1, 2), expand=False))


def shown_samples(result: dict[str, Any]) -> str:
    """What the model made of the job's prompts, or of the validation text where the job has none."""
    texts = [f"{sample['prompt']}{sample['text']}" for sample in result["samples"]] or [result["sample"] or ""]
    shown = [wording.printable(text.strip()[:_LONGEST_SAMPLE]) for text in texts]
    return "\n\n".join(text for text in shown if text)


def print_failed(
    console: Console, decision: Fail, attempts: Sequence[Attempt], folder: RunFolder, command: str
) -> None:
    """Why a run failed, the end of the log that says more, and what to do."""
    verdict, last = decision.verdict, attempts[-1]
    log = folder.log(last.number, verdict.process or 0)
    rows = [
        ("cause", wording.printable(verdict.message)),
        ("no further attempt", decision.why),
        ("attempts", f"{len(attempts)}; the last one reached step {last.step or 0:,}"),
        ("logs", wording.shown(folder.logs)),
        ("what to do", advice(verdict, last, command)),
    ]
    title, heading, tail = "training failed", f"end of {wording.shown(log)}", log_tail(log)
    if not console.is_terminal:
        _print_lines(console, title, rows, heading, tail)
        return
    parts: list[RenderableType] = [_grid(rows)]
    if tail:
        parts += [Text(), Text(heading, "dim"), Text("\n".join(tail))]
    console.print(Panel(Group(*parts), title=Text(title, "bold red"), padding=(1, 2), border_style="red", expand=False))


def stopped_text(attempts: Sequence[Attempt], command: str) -> str:
    """What is left after the user stopped the run, and how to go on."""
    last = attempts[-1] if attempts else None
    to_go_on = f"to go on from {origin(last)}" if last and last.checkpoint_step is not None else "to start"
    return f"{_stopped(last)}\n{to_go_on}:  {command}"


def _stopped(last: Attempt | None) -> str:
    if last is None or last.step is None:
        return "stopped before a step was trained"
    if last.verdict is not None and last.verdict.exit_code == ExitCode.SAVED:
        return f"saved and stopped at step {last.step:,}"
    lost = f"; {wording.count(last.steps_lost, 'step')} after the last checkpoint are lost" if last.steps_lost else ""
    return f"stopped at step {last.step:,}, not saved{lost}"


def advice(verdict: Verdict, last: Attempt, command: str) -> str:
    """What a person can do about a failure."""
    goes_on = f"`{command}` goes on from {origin(last)}"
    match verdict.exit_code:
        case ExitCode.USER_ERROR:
            return f"mend the job as the message says, then `{command}`"
        case ExitCode.BAD_DATA:
            return f"correct the file or folder as the message says; {goes_on}"
        case ExitCode.NAN:
            return (
                "set spec.recovery.onNaN to rollback, which leaves the batch out; if that does not help, lower "
                f"spec.optimizer.learningRate or lengthen spec.optimizer.warmup, and `{command} --fresh` starts over"
            )
        case ExitCode.CORRUPT_CHECKPOINT:
            return (
                "put the checkpoints back, or correct spec.checkpoint.path (`lateen checkpoints` says what is in a "
                f"folder), then `{command}`; `{command} --fresh` starts over"
            )
    if verdict.failure_class is FailureClass.USER:
        return f"read the log: its last error is the cause; once that is mended, {goes_on}"
    if "memory" in verdict.message or verdict.exit_code == 137:
        return f"if memory ran out: fewer --hosts or a smaller spec.trainer.perDeviceParallelism; {goes_on}"
    return goes_on


def log_tail(path: Path) -> list[str]:
    """The last lines of a log, without control characters; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [wording.printable(masked(line)) for line in text.splitlines()[-_LOG_LINES:]]


def _complete_rows(result: dict[str, Any], job: LMTrainingJob, folder: RunFolder) -> list[Row]:
    attempts = wording.count(result["attemptCount"], "attempt")
    rows = [
        (
            "trained",
            f"{wording.count(result['step'], 'step')}, {wording.count(result['tokens'], 'token')} "
            f"in {wording.duration(result['seconds'])}, {attempts}",
        ),
        ("train loss", f"{wording.loss(result['loss'])} nats per token"),
        ("validation loss", f"{wording.loss(result['validationLoss'])} nats per token"),
        (
            "unigram entropy",
            f"{wording.loss(result['unigramEntropy'])} nats per token (from token frequencies alone)",
        ),
        ("checkpoint", wording.shown(result["checkpoint"]) if result["checkpoint"] else "–"),
    ]
    if skipped := result.get("skippedDocuments"):
        rows.append(("data", f"{wording.count(skipped, 'bad document')} left out (data.onBadDocument: skip)"))
    if job.spec.export.hugging_face:
        rows.append(("Hugging Face", job.spec.export.hugging_face))
    if folder.loss_chart.exists():
        rows.append(("loss curve", wording.shown(folder.loss_chart)))
    rows.append(("all of it", wording.shown(folder.path)))
    return [row for row in rows if "– nats" not in row[1]]


def _bars(result: dict[str, Any]) -> Table | None:
    """The validation loss beside the unigram entropy, as two bars: shorter is better."""
    loss, unigram = result["validationLoss"], result["unigramEntropy"]
    if not loss or not unigram:
        return None
    longest = max(loss, unigram)
    style_of_model = "green" if loss < unigram else "yellow"
    table = Table.grid(padding=(0, 2, 0, 0))
    for label, value, style in (("unigram", unigram, "dim"), ("this model", loss, style_of_model)):
        table.add_row(Text(label, "dim"), Text("━" * max(1, round(value / longest * _BAR)), style), f"{value:.3f}")
    return table


def _grid(rows: Sequence[Row]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(label, Text(value))
    return table


def _print_lines(console: Console, title: str, rows: Sequence[Row], heading: str, block: Sequence[str]) -> None:
    """The same without a terminal. Lines are as long as they are: a log is not 80 columns wide."""
    lines = [title, *(f"  {label}: {value}" for label, value in rows)]
    if block:
        lines += [f"  {heading}:", *(f"    {line}" for line in block)]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
