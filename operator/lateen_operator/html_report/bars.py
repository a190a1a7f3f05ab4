"""Bars of time: the attempts one below the other, and what the time went into."""

from collections.abc import Sequence
from html import escape

from lateen_api.status import AttemptStatus, TimeStatus

from lateen_operator import wording
from lateen_operator.attempt_codec import seconds
from lateen_operator.goodput import total

_NARROWEST = 0.4
"""Percent of the width: an attempt of a second is seen beside one of a day."""

PARTS = {
    "training": "steps that count",
    "evaluating": "evaluations",
    "saving": "training waited for a checkpoint",
    "exporting": "exports, samples, waiting for the others at the end",
    "data": "tokenizing, and waiting for batches",
    "starting": "imports, devices, meeting the others",
    "restoring": "reading checkpoints",
    "compiling": "compiling, or loading programs",
    "lost_steps": "steps that were lost and trained again",
    "recovering": "from an attempt's last sign to the next attempt",
    "queued": "waiting for admission by the queue",
    "waiting_for_machines": "machines, images",
    "suspended": "the job was suspended",
}
"""The parts of `status.time`, in the order of the bar, and what each is."""


def timeline(attempts: Sequence[AttemptStatus], now: float) -> str:
    """Bars of all attempts on one axis of time, coloured by the class of their end.

    Args:
        attempts: at least one.
        now: end of an attempt that runs, in seconds since the epoch.
    """
    spans = [(seconds(entry.started), now if entry.ended is None else seconds(entry.ended)) for entry in attempts]
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    whole = max(last - first, 1e-3)
    rows = []
    for entry, (start, end) in zip(attempts, spans, strict=True):
        left = (start - first) / whole * 100
        width = max(_NARROWEST, min((end - start) / whole * 100, 100 - left))
        left = min(left, 100 - width)
        kind = entry.failure_class or "Running"
        title = f"attempt {entry.number}: {kind}, {wording.duration(end - start)}"
        rows.append(
            f'<div class="row"><span class="label">{entry.number}</span><span class="track">'
            f'<span class="bar {escape(kind.lower())}" style="left:{left:.2f}%;width:{width:.2f}%" '
            f'title="{escape(title)}"></span></span></div>'
        )
    kinds = dict.fromkeys(entry.failure_class or "Running" for entry in attempts)
    legend = "".join(f'<span class="key block {escape(kind.lower())}">{escape(kind)}</span>' for kind in kinds)
    described = f"{wording.count(len(attempts), 'attempt')} within {wording.duration(whole)}"
    return (
        f'<div class="timeline" role="img" aria-label="{described}"><div class="legend">{legend}</div>{"".join(rows)}'
        f'<div class="ends"><span>0 s</span><span>{wording.duration(whole)}</span></div></div>'
    )


def time_bar(parts: TimeStatus) -> str:
    """One bar of all parts of the time, each in proportion, and what each of them is in a table."""
    whole = total(parts) or 1.0
    spent = [(name, value) for name in PARTS if (value := getattr(parts, name)) > 0]
    bar = "".join(
        f'<span class="part {name.replace("_", "-")}" style="width:{value / whole * 100:.3f}%" '
        f'title="{_label(name)}: {wording.duration(value)}"></span>'
        for name, value in spent
    )
    rows = "".join(
        f'<tr><td><span class="key block {name.replace("_", "-")}">{_label(name)}</span></td>'
        f'<td class="number">{_precise(value)}</td><td class="number">{value / whole:.1%}</td>'
        f'<td class="why">{escape(PARTS[name])}</td></tr>'
        for name, value in spent
    )
    return (
        f'<div class="stack" role="img" aria-label="Time by part; the table has the values">{bar}</div>'
        '<div class="scroll"><table><thead><tr><th>part</th><th class="number">time</th><th class="number">share</th>'
        f"<th>what it is</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _label(name: str) -> str:
    return name.replace("_", " ")


def _precise(value: float) -> str:
    return f"{value:.1f} s" if value < 60 else wording.duration(value)
