"""A dashboard drawn as HTML, from its own queries: what a reader sees in Grafana, about where it is seen there.

It is no Grafana: it knows the kinds of panels, units and options that charts/dashboards uses.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, Protocol

from lateen_operator.html_report.chart import Axis, linear_axis, logarithmic_axis, number
from lateen_operator.wording import size

_COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#fade2a", "#96d98d")
_NAMED = {"green": "#3d9a4f", "yellow": "#a67c00", "red": "#c4314b", "blue": "#3f73c4"}
_STYLE = Path(__file__).with_name("drawing.css")
_ROW_PIXELS, _GAP_PIXELS = 34, 6
"""As in drawing.css."""


class Source(Protocol):
    """Answers queries."""

    start: float
    end: float

    def series(self, expr: str) -> list[dict[str, Any]]: ...

    def last(self, expr: str) -> list[dict[str, Any]]: ...


def draw(dashboard: Mapping[str, Any], source: Source, rows: int) -> str:
    """The HTML of a dashboard's first so many rows of the grid."""
    panels = [panel for panel in dashboard["panels"] if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= rows]
    drawn = "".join(_panel(panel, source) for panel in panels)
    title = f"<h1>{escape(dashboard['title'])} <span>drawn from the dashboard's own queries, not by Grafana</span></h1>"
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><style>{_STYLE.read_text()}</style>{title}'
        f'<div class="grid">{drawn}</div></html>'
    )


def height(rows: int) -> int:
    """Pixels of a page of so many rows of the grid."""
    return rows * (_ROW_PIXELS + _GAP_PIXELS) + 60


def _panel(panel: Mapping[str, Any], source: Source) -> str:
    at = panel["gridPos"]
    place = f"grid-column:{at['x'] + 1}/span {at['w']};grid-row:{at['y'] + 1}/span {at['h']}"
    title = escape(panel["title"])
    if panel["type"] == "row":
        return f'<div class="row" style="{place}">{title}</div>'
    inside = {"stat": _stat, "timeseries": _lines, "table": _table}[panel["type"]](panel, source)
    return f'<div class="panel" style="{place}"><h2>{title}</h2>{inside or "<div class=none>No data</div>"}</div>'


def _stat(panel: Mapping[str, Any], source: Source) -> str:
    found = source.last(panel["targets"][0]["expr"])
    if not found:
        return ""
    value = float(found[0]["value"][1])
    defaults = panel["fieldConfig"]["defaults"]
    colour = next(
        step["color"]
        for step in reversed(defaults["thresholds"]["steps"])
        if step["value"] is None or value >= step["value"]
    )
    legend = panel["targets"][0]["legendFormat"]
    by_name = panel["options"].get("textMode") == "name" and legend != "__auto"
    shown = (
        _legend(legend, found[0]["metric"]) if by_name else _mapped(value, defaults) or _text(value, defaults["unit"])
    )
    return f'<div class="stat" style="background:{_NAMED.get(colour, colour)}">{escape(shown)}</div>'


def _mapped(value: float, defaults: Mapping[str, Any]) -> str | None:
    for mapping in defaults["mappings"]:
        option = mapping["options"].get(f"{value:g}") if mapping["type"] == "value" else None
        if option is not None:
            return option.get("text")
    return None


def _lines(panel: Mapping[str, Any], source: Source) -> str:
    curves = []
    for target in panel["targets"]:
        for one in source.series(target["expr"]):
            points = [(float(at), float(value)) for at, value in one["values"] if math.isfinite(float(value))]
            if points:
                curves.append((_legend(target["legendFormat"], one["metric"]), points))
    if not curves:
        return ""
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    points = [points for _, points in curves]
    drawn = _stack(points) if custom["stacking"]["mode"] == "normal" else points
    logarithmic = custom["scaleDistribution"]["type"] == "log"
    axis = _axis([value for points in drawn for _, value in points], defaults, logarithmic)
    parts = [f'<path d="M0 {_y(axis, tick)}H1000" stroke="#2b2e34"/>' for tick in axis.ticks]
    # The lowest of a stack lies on top of the others.
    for index in reversed(range(len(drawn))):
        places = [
            f"{(at - source.start) / (source.end - source.start) * 1000:.1f} {_y(axis, value)}"
            for at, value in drawn[index]
            if axis.low <= value <= axis.high
        ]
        parts += _area(places, _colour(index), custom["fillOpacity"] / 100) if places else []
    legend = "".join(
        f'<span><i style="background:{_colour(index)}"></i>{escape(name)}</span>'
        for index, (name, _) in enumerate(curves)
    )
    svg = f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none">{"".join(parts)}</svg>'
    labels = _labels(axis, defaults["unit"], source)
    return f'<div class="plot">{svg}{labels}</div><div class="legend">{legend}</div>'


def _area(places: Sequence[str], colour: str, opacity: float) -> list[str]:
    line, first, last = "L".join(places), places[0].split()[0], places[-1].split()[0]
    return [
        f'<path d="M{line}L{last} 1000L{first} 1000Z" fill="{colour}" fill-opacity="{opacity}"/>',
        f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="1.3"/>',
    ]


def _labels(axis: Axis, unit: str, source: Source) -> str:
    values = [
        f'<span class="y" style="top:{(1 - axis.place(tick)) * 100:.1f}%">{escape(_text(tick, unit))}</span>'
        for tick in axis.ticks
    ]
    times = []
    for share in (0.1, 0.5, 0.9):
        at = datetime.fromtimestamp(source.start + share * (source.end - source.start), UTC)
        times.append(f'<span class="x" style="left:{share * 100:g}%">{at:%H:%M:%S}</span>')
    return "".join([*values, *times])


def _y(axis: Axis, value: float) -> str:
    return f"{(1 - axis.place(value)) * 1000:.1f}"


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _stack(curves: Sequence[Sequence[tuple[float, float]]]) -> list[list[tuple[float, float]]]:
    """Each curve on top of those before it; a time at which one has no value counts as 0."""
    sums: dict[float, float] = {}
    stacked = []
    for points in curves:
        for at, value in points:
            sums[at] = sums.get(at, 0.0) + value
        stacked.append([(at, sums[at]) for at, _ in points])
    return stacked


def _axis(values: Iterable[float], defaults: Mapping[str, Any], logarithmic: bool) -> Axis:
    values = list(values)
    if logarithmic and (above := [value for value in values if value > 0]) and min(above) < max(above):
        return logarithmic_axis(min(above), max(above))
    low, high = min(values), max(values)
    return linear_axis(min(low, defaults.get("min", low)), max(high, min(defaults.get("max", high), high)))


def _table(panel: Mapping[str, Any], source: Source) -> str:
    rows: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    several = len(panel["targets"]) > 1
    units = _units(panel)
    organize = panel["transformations"][-1]["options"]
    names = organize["renameByName"]
    for target in panel["targets"]:
        column = f"Value #{target['refId']}" if several else "Value"
        column = names.get(column, column)
        for one in source.last(target["expr"]):
            labels = {names.get(name, name): value for name, value in one["metric"].items() if name != "__name__"}
            row = rows.setdefault(tuple(sorted(labels.items())), labels)
            row[column] = _text(float(one["value"][1]), units.get(column, "short"))
    if not rows:
        return ""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(row.get(name, str()))}</td>' for name in columns)}</tr>" for row in rows.values()
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _units(panel: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for override in panel["fieldConfig"]["overrides"]:
        for of in override["properties"]:
            if of["id"] == "unit":
                found[override["matcher"]["options"]] = of["value"]
    return found


def _legend(template: str, labels: Mapping[str, str]) -> str:
    if template == "__auto":
        return ", ".join(value for name, value in labels.items() if name != "__name__") or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), template)


def _text(value: float, unit: str) -> str:
    """A value with its unit, as Grafana's: percentunit, s, bytes, ops, reqps; others as they are."""
    if math.isnan(value):
        return "–"
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "bytes":
            return size(value)
        case "s":
            return _duration(value)
        case "ops" | "reqps":
            return f"{number(value)} {'req' if unit == 'reqps' else 'ops'}/s"
    return number(value)


def _duration(value: float) -> str:
    for unit, seconds in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if abs(value) >= seconds:
            return f"{value / seconds:.3g} {unit}"
    return f"{value * 1000:.3g} ms" if value else "0 s"
