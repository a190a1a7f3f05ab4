"""The page: all parts of it in order, with style and script within, so that it needs nothing else. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import yaml
from lateen_api.escaping import printable
from lateen_api.status import AttemptStatus

from lateen_operator import wording
from lateen_operator.attempt_codec import seconds
from lateen_operator.goodput import total
from lateen_operator.html_report.bars import time_bar, timeline
from lateen_operator.html_report.chart import Curve, chart
from lateen_operator.html_report.folder import Run, day_and_time

_LONGEST_SAMPLE = 4000


def page(run: Run, version: str) -> str:
    """The whole HTML document.

    Args:
        run: what it shows.
        version: of lateen that makes it.
    """
    sections = [
        _head(run),
        _charts(run),
        _attempts(run),
        _time(run),
        _checkpoints(run),
        _samples(run),
        _configuration(run),
        _versions(run, version),
    ]
    # Nothing is loaded from anywhere, whatever a text in the page may contain.
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{_text(run.name)} · lateen report</title>'
        f"<style>{_asset('style.css')}</style></head><body><main>{''.join(sections)}</main>"
        f"<footer>Made by lateen {escape(version)} on {day_and_time(run.read_at)} UTC from {_text(run.place)}. "
        f"Passwords, signatures and secret variables are masked.</footer>"
        f"<script>{_asset('script.js')}</script></body></html>\n"
    )


def _head(run: Run) -> str:
    state = f'<span class="state {escape(run.state.lower())}">{escape(run.state)}</span>' if run.state else ""
    calm = "" if run.state in ("Failed", "Refused") else " calm"
    message = "" if run.message is None else f'<p class="message{calm}">{_text(run.message)}</p>'
    notes = "".join(f'<p class="soft">{_text(note)}</p>' for note in run.notes)
    figures = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in _figures(run) if value)
    return f"<header><h1>{_text(run.name)}{state}</h1>{message}{notes}<dl class='figures'>{figures}</dl></header>"


def _figures(run: Run) -> Iterable[tuple[str, str]]:
    steps = "" if run.step is None else f"{run.step:,}" + (f" of {run.of:,}" if run.of else "")
    speed = [value for _, value in run.metrics.points("tokens_per_second")]
    yield "steps", steps
    yield "loss", "" if run.loss is None else wording.loss(run.loss)
    yield "validation loss", "" if run.validation_loss is None else wording.loss(run.validation_loss)
    yield "tokens", "" if run.tokens is None else f"{run.tokens:,}"
    yield "tokens/s, median", f"{statistics.median(speed):,.0f}" if speed else ""
    yield "time", wording.duration(total(run.time)) if run.time else ""
    yield "goodput", "" if run.goodput is None else f"{run.goodput:.1%}"
    yield "attempts", f"{run.attempts[-1].number:,}" if run.attempts else ""
    yield "skipped batches", f"{len(run.skipped_batches):,}" if run.skipped_batches else ""


def _charts(run: Run) -> str:
    of = run.metrics.points
    level = ("unigram entropy", run.unigram_entropy) if run.unigram_entropy else None
    losses = [
        Curve("training", of("loss"), "1"),
        Curve("validation", of("validation_loss"), "2", dashed=True, dots=True),
    ]
    parts = [
        Curve("step", of("step_seconds"), "1"),
        Curve("of it waiting for data", of("data_wait_seconds"), "2"),
        Curve("compiling", of("compile_seconds"), "3", line=False),
        Curve("waiting for a checkpoint", of("checkpoint_blocked_seconds"), "4", line=False),
    ]
    has_losses = any(curve.points for curve in losses)
    drawn = [
        chart("loss", "Loss", "nats per token", losses, level=level).replace('"chart"', '"chart wide"', 1)
        if has_losses
        else "",
        chart("step-time", "Step time by part", "seconds", parts, logarithmic=True),
        chart("speed", "Speed", "tokens per second", [Curve("tokens per second", of("tokens_per_second"), "1")]),
        chart("mfu", "Model FLOPs utilisation", "0 to 1", [Curve("MFU", of("mfu"), "3")]),
        chart("learning-rate", "Learning rate", "", [Curve("learning rate", of("learning_rate"), "3")]),
        chart("gradient", "Gradient norm", "before clipping", [Curve("norm", of("grad_norm"), "4")], logarithmic=True),
    ]
    shown = "".join(drawn)
    return f'<section><h2>Training</h2><div class="charts">{shown}</div></section>' if shown else ""


def _attempts(run: Run) -> str:
    if not run.attempts:
        return ""
    rows = "".join(_attempt_row(entry, run.read_at) for entry in run.attempts)
    first = run.attempts[0].number
    older = f'<p class="soft">The {first - 1:,} attempts before these are not kept.</p>' if first > 1 else ""
    head = "".join(
        f'<th class="number">{name}</th>' if is_number else f"<th>{name}</th>"
        for name, is_number in (
            ("no.", True), ("started (UTC)", False), ("lasted", True), ("hosts", True), ("steps", True),
            ("lost", True), ("end", False), ("reason", False), ("why", False),
        )
    )  # fmt: skip
    return (
        f"<section><h2>Attempts</h2>{older}{timeline(run.attempts, run.read_at)}"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _attempt_row(entry: AttemptStatus, now: float) -> str:
    lasted = (now if entry.ended is None else seconds(entry.ended)) - seconds(entry.started)
    steps = "" if entry.first_step is None else f"{entry.first_step:,} – {entry.step or entry.first_step:,}"
    kind = entry.failure_class or "Running"
    cells = (
        ("number", str(entry.number)),
        ("time", day_and_time(entry.started)),
        ("number", wording.duration(lasted)),
        ("number", str(entry.hosts)),
        ("number", steps),
        ("number", f"{entry.steps_lost:,}" if entry.steps_lost else ""),
        ("", kind),
        ("", entry.reason or ""),
        ("wrap", entry.message or ""),
    )
    shown = "".join(f'<td class="{name}">{_text(text)}</td>' for name, text in cells)
    return f"<tr>{shown}</tr>"


def _time(run: Run) -> str:
    if run.time is None or total(run.time) <= 0:
        return ""
    good = "" if run.goodput is None else (
        f"<p>Goodput {run.goodput:.1%}: the part of the time on machines that went into steps that count and into "
        "evaluations.</p>"
    )  # fmt: skip
    return f"<section><h2>Time</h2>{good}{time_bar(run.time)}</section>"


def _checkpoints(run: Run) -> str:
    if run.checkpoint_path is None:
        return ""
    rows = "".join(
        f'<tr><td class="number">{one.step:,}</td><td class="number">{wording.size(one.size)}</td>'
        f'<td class="time">{"not complete" if one.manifest is None else day_and_time(one.created_at)}</td></tr>'
        for one in run.checkpoints
    )
    table = (
        '<div class="scroll"><table><thead><tr><th class="number">step</th><th class="number">size</th>'
        f"<th>taken (UTC)</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
    place = f'<p class="mono">{_text(run.checkpoint_path)}</p>'
    return f"<section><h2>Checkpoints</h2>{place}{table if rows else ''}</section>"


def _samples(run: Run) -> str:
    shown = "".join(
        f'<pre class="text"><b>{_text(prompt)}</b>{_text(text[:_LONGEST_SAMPLE])}</pre>' for prompt, text in run.samples
    )
    note = '<p class="soft">What the model wrote when training was complete.</p>'
    return f"<section><h2>Samples</h2>{note}{shown}</section>" if shown else ""


def _configuration(run: Run) -> str:
    if run.configuration is None:
        return ""
    text = yaml.safe_dump(_plain(run.configuration), sort_keys=False, allow_unicode=True, width=100)
    return (
        "<section><h2>Configuration</h2><details open><summary>The job as it ran, every default filled in</summary>"
        f"<pre>{_text(text)}</pre></details></section>"
    )


def _versions(run: Run, version: str) -> str:
    known = {**run.versions, "lateen (that made this page)": version}
    note = '<p class="soft">By what the last checkpoint was made.</p>' if run.versions else ""
    rows = "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in known.items())
    return f"<section><h2>Versions</h2>{note}<table><tbody>{rows}</tbody></table></section>"


def _plain(data: Any) -> Any:
    """The data without fields that have no value, of which there are many."""
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items() if value is not None and value != {} and value != []}
    return [_plain(item) for item in data] if isinstance(data, Sequence) and not isinstance(data, str) else data


def _text(text: str) -> str:
    """Foreign text in HTML; control characters are made visible."""
    return escape(printable(text))


def _asset(name: str) -> str:
    return (files("lateen_operator.html_report") / name).read_text(encoding="utf-8")
