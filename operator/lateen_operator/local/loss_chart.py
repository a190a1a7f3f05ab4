"""`loss.svg`: training and validation loss over the steps, as a small picture for a browser."""

import math
from html import escape

from lateen_operator.local.losses import Points

WIDTH, HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 60, 48
_TRAINING, _VALIDATION, _UNIGRAM = "#2563a8", "#d9541e", "#888"
_MOST_DOTS = 600

_STYLE = f"""\
text {{ font: 12px system-ui, sans-serif; fill: #444 }}
.title {{ font-size: 15px; font-weight: 600; fill: #222 }}
.grid {{ stroke: #ddd; stroke-width: 1 }}
.training {{ fill: none; stroke: {_TRAINING}; stroke-width: 1.5; stroke-linejoin: round }}
.validation {{ fill: none; stroke: {_VALIDATION}; stroke-width: 1.5; stroke-dasharray: 5 3 }}
.unigram {{ stroke: {_UNIGRAM}; stroke-width: 1; stroke-dasharray: 2 3 }}
.validation-dot {{ fill: {_VALIDATION} }}
@media (prefers-color-scheme: dark) {{
  .paper {{ fill: #16181c }} text {{ fill: #b8bcc4 }} .title {{ fill: #eee }} .grid {{ stroke: #333 }}
}}"""


def loss_chart(title: str, training: Points, validation: Points, unigram_entropy: float | None = None) -> str:
    """The picture as SVG text.

    Args:
        title: above the picture.
        training: (step, nats per token), by step; not empty.
        validation: the same of the evaluations; may be empty.
        unigram_entropy: drawn as a line for comparison, in nats per token.
    """
    values = [value for _, value in training + validation] + ([unigram_entropy] if unigram_entropy else [])
    x_ticks = _ticks(0, max(1, max(step for step, _ in training + validation)))
    y_ticks = _ticks(min(values), max(values))

    def x(step: float) -> float:
        return _LEFT + (step - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - _TOP - _BOTTOM)

    def line(name: str, points: Points) -> str:
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        return f'<polyline class="{name}" points="{path}"/>'

    parts = [f'<text class="title" x="{_LEFT}" y="24">{escape(title)}</text>']
    for tick in y_ticks:
        parts.append(f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts += [
        f'<text x="{x(tick):.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:,.10g}</text>'
        for tick in x_ticks
    ]
    parts.append(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">step</text>')
    legend = [("training", _TRAINING)]
    if unigram_entropy:
        level = f"{y(unigram_entropy):.1f}"
        parts.append(f'<path class="unigram" d="M{_LEFT} {level}H{WIDTH - _RIGHT}"/>')
        legend.append(("unigram entropy (dotted)", _UNIGRAM))
    parts.append(line("training", _thinned(training)))
    if validation:
        parts.append(line("validation", _thinned(validation)))
        parts += [
            f'<circle class="validation-dot" cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.5"/>'
            for step, value in _thinned(validation)
        ]
        legend.insert(1, ("validation (dashed)", _VALIDATION))
    entries = ", ".join(f'<tspan style="fill: {colour}">{name}</tspan>' for name, colour in legend)
    parts.append(f'<text x="{_LEFT}" y="42">nats per token: {entries}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _ticks(lowest: float, highest: float) -> list[float]:
    """Three to eight round numbers that enclose the range."""
    span = (highest - lowest) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 6)
    first = math.floor(lowest / step)
    last = max(first + 1, math.ceil(highest / step))
    return [round(index * step, 10) for index in range(first, last + 1)]


def _thinned(points: Points) -> Points:
    """At most about `_MOST_DOTS` points, the last one among them: more cannot be told apart."""
    stride = math.ceil(len(points) / _MOST_DOTS)
    return points if stride <= 1 else [*points[::stride], points[-1]]
