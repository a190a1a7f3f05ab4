"""The parts of a dashboard, as Grafana's JSON model of schema version 39 wants them.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 39
COLUMNS = 24
"""Width of Grafana's grid."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


@dataclass(frozen=True)
class Query:
    """One PromQL query of a panel.

    Args:
        expr: it may use `$__rate_interval`, `$__range` and the dashboard's variables.
        legend: text per series, with labels as `{{label}}`.
        instant: the values of now, for tables and single numbers.
    """

    expr: str
    legend: str = ""
    instant: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        kind: Grafana's type of panel: timeseries, stat, table.
        description: what it shows, and what a bad value means.
        unit: Grafana's id of a unit: s, bytes, percentunit, short, …
        thresholds: (from which value, colour), the lowest first. The first one's value is not used.
        minimum, maximum: ends of the axis.
        width, height: in Grafana's grid.
        options: beside the kind's own; see `stat`, `timeseries`, `table`.
        custom: fieldConfig.defaults.custom.
        decimals: shown; None: as Grafana thinks fit.
        overrides: fieldConfig.overrides.
        transformations: of a table.
        mappings: of values to texts.
    """

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    thresholds: Sequence[tuple[float, str]] = ((0, GREEN),)
    minimum: float | None = None
    maximum: float | None = None
    width: int = 12
    height: int = 8
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    decimals: int | None = None
    overrides: Sequence[Mapping[str, Any]] = ()
    transformations: Sequence[Mapping[str, Any]] = ()
    mappings: Sequence[Mapping[str, Any]] = ()

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """The panel at a place of the grid.

        Args:
            number: unique in the dashboard.
        """
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "custom": dict(self.custom),
            "mappings": list(self.mappings),
            "thresholds": {
                "mode": "absolute",
                "steps": [
                    {"value": None if index == 0 else value, "color": color}
                    for index, (value, color) in enumerate(self.thresholds)
                ],
            },
        }
        ends = {"min": self.minimum, "max": self.maximum, "decimals": self.decimals}
        defaults |= {name: value for name, value in ends.items() if value is not None}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": DATASOURCE,
            "targets": [_target(chr(ord("A") + index), query, self.kind) for index, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": defaults, "overrides": list(self.overrides)},
            "options": dict(self.options),
            "transformations": list(self.transformations),
        }


def _target(letter: str, query: Query, kind: str) -> dict[str, Any]:
    return {
        "refId": letter,
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": query.instant,
        "range": not query.instant,
        "format": "table" if kind == "table" else "time_series",
        "editorMode": "code",
    }


def stat(title: str, description: str, expr: str, *, legend: str = "", **more: Any) -> Panel:
    """One number of now, coloured by its thresholds."""
    options = {
        "colorMode": "background" if len(more.get("thresholds", ())) > 1 else "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    size = {"width": 4, "height": 4}
    return Panel("stat", title, description, [Query(expr, legend)], **{**size, "options": options, **more})


def timeseries(
    title: str, description: str, *queries: Query, stacked: bool = False, bars: bool = False, log: bool = False,
    **more: Any,
) -> Panel:  # fmt: skip
    """Lines over time. With several thresholds they are drawn as dashed lines.

    Args:
        stacked: areas on top of each other.
        bars: in place of lines.
        log: logarithmic axis.
    """
    custom = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if stacked or bars else 10,
        "lineWidth": 1,
        "showPoints": "never",
        # What was not scraped is a gap, and not a straight line over the time that nobody knows of.
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
        "thresholdsStyle": {"mode": "dashed" if len(more.get("thresholds", ())) > 1 else "off"},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, description, queries, **{"options": options, "custom": custom, **more})


def table(title: str, description: str, *queries: Query, **more: Any) -> Panel:
    """The values of now, a row per series. Several queries become columns of the rows that have equal labels."""
    hidden: dict[str, Any] = {"excludeByName": {"Time": True}, "renameByName": more.pop("names", {})}
    merge = [{"id": "merge", "options": {}}] if len(queries) > 1 else []
    organize = {"id": "organize", "options": hidden}
    return Panel(
        "table", title, description, queries,
        **{
            "width": COLUMNS, "options": {"showHeader": True, "cellHeight": "sm"},
            "custom": {"align": "auto", "filterable": True}, "transformations": [*merge, organize], **more,
        },
    )  # fmt: skip


def column(name: str, unit: str, thresholds: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
    """Unit and colours of one column of a table."""
    properties: list[dict[str, Any]] = [{"id": "unit", "value": unit}]
    if thresholds:
        steps = [{"value": value if i else None, "color": color} for i, (value, color) in enumerate(thresholds)]
        properties.append({"id": "thresholds", "value": {"mode": "absolute", "steps": steps}})
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}
