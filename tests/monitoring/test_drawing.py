"""Pictures of dashboards show what their queries return."""

import json
import re
from typing import Any

import pytest
from monitoring.drawing import draw
from monitoring.scraped_run import DASHBOARDS


class Answers:
    """Each query returns two series of labels `process` that go from 1 to 3, and from 2 to 4."""

    start, end = 1_900_000_000.0, 1_900_000_100.0

    def series(self, expr: str) -> list[dict[str, Any]]:
        times = [self.start + 10 * step for step in range(11)]
        return [
            {"metric": {"process": str(low)}, "values": [[at, str(low + 2 * (at - self.start) / 100)] for at in times]}
            for low in (1, 2)
        ]

    def last(self, expr: str) -> list[dict[str, Any]]:
        return [{"metric": {"process": "1"}, "value": [self.end, "0.25"]}]


class NoAnswers(Answers):
    """Queries return nothing."""

    def series(self, expr: str) -> list[dict[str, Any]]:
        return []

    def last(self, expr: str) -> list[dict[str, Any]]:
        return []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_of_the_grid_is_drawn(path):
    dashboard = json.loads(path.read_text())
    html = draw(dashboard, Answers(), rows=1000)
    assert re.findall(r"<h2>(.*?)</h2>", html) == [p["title"] for p in dashboard["panels"] if p["type"] != "row"]
    assert "No data" not in html
    empty = draw(dashboard, NoAnswers(), rows=1000)
    assert empty.count("No data") == len(re.findall("<h2>", empty))
    shown = draw(dashboard, Answers(), rows=10)
    assert len(re.findall("<h2>", shown)) == sum(
        p["type"] != "row" and p["gridPos"]["y"] + p["gridPos"]["h"] <= 10 for p in dashboard["panels"]
    )


def of_one(title: str) -> str:
    """The drawing of one panel of the dashboard of a job, alone."""
    [path] = [path for path in DASHBOARDS if path.stem == "job"]
    dashboard = json.loads(path.read_text())
    return draw({**dashboard, "panels": [p for p in dashboard["panels"] if p["title"] == title]}, Answers(), 1000)


def test_a_line_goes_through_the_values():
    html = of_one("Steps behind the first")
    lines = re.findall(r'd="M([^"]*)" fill="none"', html)
    places = [[tuple(map(float, place.split())) for place in line.split("L")] for line in lines]
    low, high = 0.0, 4.0  # the panel's axis begins at 0
    for line, first in zip(reversed(places), (1, 2), strict=True):
        assert [x for x, _ in line] == [100.0 * step for step in range(11)]
        for index, (_, y) in enumerate(line):
            assert y == pytest.approx((1 - (first + 0.2 * index - low) / (high - low)) * 1000, abs=0.1)


def test_a_number_has_its_unit():
    assert ">25 %</div>" in of_one("Goodput")
    assert ">250 ms</div>" in of_one("Checkpoint age")
