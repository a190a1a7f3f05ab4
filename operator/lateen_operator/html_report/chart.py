"""A chart of curves over the steps, as HTML: lines in an SVG that is stretched to its place, and labels beside it.

The labels are HTML and keep their size, so that the same chart is read on a telephone, on a desk and on paper. It is
whole without any script; the page's script only adds the values under the pointer.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lateen_operator.local.losses import Points

_MOST_POINTS = 500
_SIDE = 1000.0
"""Of the SVG's own square of coordinates."""

_TICKS = 5


@dataclass(frozen=True)
class Curve:
    """A line of a chart."""

    label: str
    points: Points
    colour: str
    """`1` to `4`: of the page's palette."""

    dashed: bool = False
    dots: bool = False
    line: bool = True
    """False: dots alone, for what happens now and then."""


@dataclass(frozen=True)
class Axis:
    """The values that a chart shows, and how."""

    low: float
    high: float
    ticks: Sequence[float]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value is, from 0 (lowest) to 1."""
        if self.logarithmic:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


def chart(
    name: str,
    title: str,
    unit: str,
    curves: Sequence[Curve],
    *,
    level: tuple[str, float] | None = None,
    logarithmic: bool = False,
) -> str:
    """The chart as HTML: two plots with a switch between them, linear and logarithmic, or the linear one alone where
    no value is above 0. Empty if no curve has points.

    Args:
        name: of the chart in the page: letters and hyphens.
        title: of the chart.
        unit: of the values.
        curves: drawn if they have points.
        level: name and value of a line across the chart, for comparison.
        logarithmic: which plot is shown first. It leaves out values that are not above 0.
    """
    thinned = [(curve, _thinned(curve.points)) for curve in curves if curve.points]
    if not thinned:
        return ""
    across = _steps_axis(max(1, *(points[-1][0] for _, points in thinned)))
    plots = [_plot(title, unit, thinned, across, linear_axis(*_range(thinned, level)), level, "linear")]
    above = [(curve, [point for point in points if point[1] > 0]) for curve, points in thinned]
    above = [(curve, points) for curve, points in above if points]
    switch = ""
    if above and _range(above, level)[0] < _range(above, level)[1]:
        axis = logarithmic_axis(*_range(above, level))
        plots.append(_plot(title, unit, above, across, axis, level, "log"))
        shown = "log" if logarithmic else "linear"
        switch = "".join(
            f'<input type="radio" name="{name}-scale" id="{name}-{scale}" class="to-{scale}"'
            f'{" checked" if scale == shown else ""}><label for="{name}-{scale}">{scale}</label>'
            for scale in ("linear", "log")
        )
    legend = "".join(
        f'<span class="key {_key(curve)} c{curve.colour}">{escape(curve.label)}</span>' for curve, _ in thinned
    )
    legend += f'<span class="key dotted level">{escape(level[0])} {number(level[1])}</span>' if level else ""
    # A closing tag in a text must not end the script.
    data = json.dumps(
        [{"label": curve.label, "points": [[s, round_to(v)] for s, v in points]} for curve, points in thinned]
    ).replace("<", "\\u003c")
    heading = f'<h3>{escape(title)}</h3> <span class="unit">{escape(unit)}</span>'
    return (
        f'<figure class="chart" id="{name}"><figcaption>{heading}<div class="legend">{legend}</div></figcaption>'
        f'{switch}{"".join(plots)}<script type="application/json" class="data">{data}</script></figure>'
    )


def _range(curves: Sequence[tuple[Curve, Points]], level: tuple[str, float] | None) -> tuple[float, float]:
    values = [value for _, points in curves for _, value in points] + ([level[1]] if level else [])
    return min(values), max(values)


def _plot(
    title: str,
    unit: str,
    curves: Sequence[tuple[Curve, Points]],
    across: Axis,
    up: Axis,
    level: tuple[str, float] | None,
    scale: str,
) -> str:
    lines = [f'<path class="grid" d="M0 {_y(up, tick)}H{_SIDE:g}"/>' for tick in up.ticks]
    if level:
        lines.append(f'<path class="level" d="M0 {_y(up, level[1])}H{_SIDE:g}"/>')
    for curve, points in curves:
        places = [f"{_x(across, step)} {_y(up, value)}" for step, value in points]
        dashed = " dashed" if curve.dashed else ""
        if curve.line:
            lines.append(f'<path class="line c{curve.colour}{dashed}" d="M{"L".join(places)}"/>')
        if curve.dots or not curve.line or len(points) == 1:
            dots = "".join(f"M{place}h0" for place in places)
            lines.append(f'<path class="dots c{curve.colour}" d="{dots}"/>')
    y_labels = "".join(
        f'<span class="y" style="top:{(1 - up.place(tick)) * 100:.2f}%">{number(tick)}</span>' for tick in up.ticks
    )
    x_labels = "".join(
        f'<span class="x" style="left:{across.place(tick) * 100:.2f}%">{tick:,.10g}</span>' for tick in across.ticks
    )
    described = "; ".join(
        f"{curve.label} from {number(points[0][1])} at step {points[0][0]:,} to {number(points[-1][1])} at step "
        f"{points[-1][0]:,}, lowest {number(min(v for _, v in points))}"
        for curve, points in curves
    )
    return (
        f'<div class="plot {scale}" tabindex="0" role="img" data-last="{across.high:g}" '
        f'aria-label="{escape(f"{title}, {unit}: {described}.")}">'
        f'<svg viewBox="0 0 {_SIDE:g} {_SIDE:g}" preserveAspectRatio="none" aria-hidden="true">{"".join(lines)}</svg>'
        f"{y_labels}{x_labels}</div>"
    )


def _key(curve: Curve) -> str:
    return "dot" if not curve.line else "dashed" if curve.dashed else "solid"


def _steps_axis(last: int) -> Axis:
    """From 0 to the last step, with round numbers within."""
    return Axis(0, last, [tick for tick in linear_axis(0, last).ticks if tick <= last])


def linear_axis(lowest: float, highest: float) -> Axis:
    """Round numbers that enclose the range."""
    span = (highest - lowest) or abs(highest) or 1.0
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= _TICKS)
    first = math.floor(lowest / step)
    last = max(first + 1, math.ceil(highest / step))
    ticks = [round(index * step, 12) for index in range(first, last + 1)]
    return Axis(ticks[0], ticks[-1], ticks)


def logarithmic_axis(lowest: float, highest: float) -> Axis:
    """The range itself, with 1, 2 and 5 times powers of ten within it, or powers alone where there are many."""
    exponents = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    factors = (1, 2, 5) if len(exponents) <= _TICKS // 2 + 1 else (1,)
    ticks = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    inside = [tick for tick in ticks if lowest <= tick <= highest]
    if len(inside) < 2:
        inside = [tick for tick in linear_axis(lowest, highest).ticks if lowest <= tick <= highest]
    return Axis(lowest, highest, inside or [lowest, highest], logarithmic=True)


def number(value: float) -> str:
    """For people: four significant digits, with separators of thousands."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e9):
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"


def round_to(value: float) -> float:
    """Six significant digits: more are not shown."""
    return float(f"{value:.6g}")


def _x(axis: Axis, value: float) -> str:
    return f"{axis.place(value) * _SIDE:.1f}"


def _y(axis: Axis, value: float) -> str:
    return f"{(1 - axis.place(value)) * _SIDE:.1f}"


def _thinned(points: Points) -> Points:
    """At most about `_MOST_POINTS`: of each stretch of steps its lowest and its highest value, so that peaks stay."""
    if len(points) <= _MOST_POINTS:
        return points
    stretch = math.ceil(len(points) / (_MOST_POINTS // 2))
    kept: Points = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]
