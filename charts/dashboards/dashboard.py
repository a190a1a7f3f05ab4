"""A dashboard: variables, annotations, and rows of panels."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.panels import COLUMNS, DATASOURCE, SCHEMA_VERSION, Panel

TAG = "lateen"


@dataclass(frozen=True)
class Variable:
    """A choice at the top of the dashboard, by the values of a label.

    Args:
        query: PromQL selector, label: where the values come from.
        several: any number of them, and all at first.
    """

    name: str
    label: str
    query: str
    several: bool = False

    def json(self) -> dict[str, Any]:
        several = {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}} if self.several else {}
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": DATASOURCE,
            "query": {"query": self.query, "refId": self.name},
            "definition": self.query,
            # Once per change of the time range: jobs come and go.
            "refresh": 2,
            "sort": 1,
            "multi": self.several,
            "includeAll": self.several,
            "hide": 0,
            **several,
        }


@dataclass(frozen=True)
class Annotation:
    """Marks on the time axis, where the query has values."""

    name: str
    expr: str
    title: str
    color: str

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "datasource": DATASOURCE,
            "enable": True,
            "hide": False,
            "iconColor": self.color,
            "expr": self.expr,
            "step": "15s",
            "titleFormat": self.title,
        }


@dataclass(frozen=True)
class Row:
    """Panels below a heading, from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """All of it. `uid` is in the addresses that people keep: it never changes."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]
    annotations: Sequence[Annotation] = ()
    time_from: str = "now-6h"

    def json(self) -> dict[str, Any]:
        datasource = {
            "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
            "hide": 0, "refresh": 1, "multi": False, "includeAll": False,
        }  # fmt: skip
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "editable": True,
            "graphTooltip": 1,
            "schemaVersion": SCHEMA_VERSION,
            "refresh": "30s",
            "timezone": "browser",
            "time": {"from": self.time_from, "to": "now"},
            "templating": {"list": [datasource, *(variable.json() for variable in self.variables)]},
            "annotations": {"list": [annotation.json() for annotation in self.annotations]},
            "links": [
                {
                    "type": "dashboards", "title": "lateen", "tags": [TAG], "asDropdown": False,
                    "includeVars": True, "keepTime": True, "icon": "external link", "tooltip": "", "url": "",
                    "targetBlank": False,
                }
            ],
            "panels": list(self._panels()),
        }  # fmt: skip

    def text(self) -> str:
        """The file."""
        return json.dumps(self.json(), indent=2, ensure_ascii=False) + "\n"

    def _panels(self) -> Iterator[dict[str, Any]]:
        y, number = 0, 0
        for row in self.rows:
            number += 1
            yield {
                "id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }  # fmt: skip
            y += 1
            x = height = 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y, height = 0, y + height, 0
                number += 1
                yield panel.json(number, x, y)
                x, height = x + panel.width, max(height, panel.height)
            y += height
