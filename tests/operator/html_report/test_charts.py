"""Charts show the values at their places; read back from the drawing."""

import math
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from lateen_operator.html_report.chart import Axis, Curve, chart, linear_axis, logarithmic_axis, number

POINTS = [(step, 2.0 + 3.0 / step) for step in range(1, 101)]


class Drawing(HTMLParser):
    """Lines, labels and switches of a chart, by plot."""

    def __init__(self, html: str):
        super().__init__()
        self.plots: dict[str, dict[str, list[str]]] = {}
        self.labels: dict[str, list[tuple[float, str]]] = {}
        self.checked: list[str] = []
        self._plot, self._place = "", 0.0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        classes = (of.get("class") or "").split()
        if "plot" in classes:
            self._plot = classes[1]
        if tag == "path":
            self.plots.setdefault(self._plot, {}).setdefault(classes[0], []).append(of["d"] or "")
        if tag == "span" and classes == ["y"]:
            self._place = 1 - float(re.findall(r"[\d.]+", of["style"] or "")[0]) / 100
        if tag == "input" and "checked" in of:
            self.checked.append(of["id"] or "")

    def handle_data(self, data):
        if self._place and re.fullmatch(r"[\d.,e-]+", data):
            self.labels.setdefault(self._plot, []).append((self._place, data))
            self._place = 0.0

    def places(self, plot: str) -> list[tuple[float, float]]:
        """Of the first line's points, from 0 to 1 from the left and from below."""
        numbers = [float(text) / 1000 for text in re.findall(r"-?[\d.]+", self.plots[plot]["line"][0])]
        return [(x, 1 - y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]


def test_a_line_goes_through_its_values_on_both_scales():
    drawing = Drawing(chart("loss", "Loss", "nats", [Curve("training", POINTS, "1")]))
    low, high = 2.0, 5.0
    for (x, y), (step, value) in zip(drawing.places("linear"), POINTS, strict=True):
        assert (x, y) == (pytest.approx(step / 100, abs=1e-3), pytest.approx((value - low) / (high - low), abs=1e-3))
    low, high = POINTS[-1][1], POINTS[0][1]
    for (_, y), (_, value) in zip(drawing.places("log"), POINTS, strict=True):
        assert y == pytest.approx(math.log(value / low) / math.log(high / low), abs=1e-3)
    assert drawing.checked == ["loss-linear"]


def test_labels_stand_at_their_values():
    drawing = Drawing(chart("loss", "Loss", "nats", [Curve("training", POINTS, "1")]))
    linear = {text: place for place, text in drawing.labels["linear"]}
    assert linear["3"] == pytest.approx(1 / 3, abs=1e-3)
    for place, text in drawing.labels["log"]:
        low, high = POINTS[-1][1], POINTS[0][1]
        assert place == pytest.approx(math.log(float(text) / low) / math.log(high / low), abs=1e-3)


def test_a_chart_of_values_below_0_has_no_logarithm_and_of_none_is_empty():
    html = chart("a", "A", "", [Curve("below", [(1, -1.0), (2, 0.0)], "1")])
    assert "log" not in Drawing(html).plots
    assert "<input" not in html
    assert chart("a", "A", "", [Curve("none", [], "1")]) == ""


def test_values_of_0_are_left_out_of_the_logarithm_alone():
    drawing = Drawing(chart("a", "A", "", [Curve("waits", [(1, 0.0), (2, 1.0), (3, 10.0)], "1")], logarithmic=True))
    assert [len(drawing.places(plot)) for plot in ("linear", "log")] == [3, 2]
    assert drawing.checked == ["a-log"]


def test_peaks_of_long_curves_stay():
    points = [(step, 1.0) for step in range(1, 4001)]
    points[1234] = (1235, 9.0)
    points[2345] = (2346, 0.1)
    drawing = Drawing(chart("a", "A", "", [Curve("long", points, "1")]))
    places = drawing.places("linear")
    assert len(places) < 600
    assert {round(y * 10, 1) for _, y in places} == {0.1, 1.0, 9.0}
    assert places[-1][0] == 1.0


@pytest.mark.parametrize(
    ("low", "high"), [(0, 560), (2.05, 5.3), (1e-6, 3e-6), (14_000, 18_000), (-3, 2), (5, 5), (0, 0)]
)
def test_linear_axes_enclose_their_range_with_few_round_numbers(low: float, high: float):
    axis = linear_axis(low, high)
    assert axis.low <= low and high <= axis.high and axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 7


@pytest.mark.parametrize(("low", "high"), [(1e-5, 300), (2.05, 5.3), (0.9, 1.1), (1, 1_000_000)])
def test_logarithmic_axes_have_labels_within_their_range(low: float, high: float):
    axis = logarithmic_axis(low, high)
    assert all(low <= tick <= high for tick in axis.ticks)
    assert 2 <= len(axis.ticks) <= 10
    assert [Axis.place(axis, value) for value in (low, high)] == [0.0, 1.0]


def test_numbers_for_people():
    assert [number(value) for value in (0, 2.05151, 16789.2, 1e-5, 3e9)] == ["0", "2.052", "16,789", "1e-05", "3e+09"]


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    digits = colour.lstrip("#")
    parts = [int(part * (2 // len(part)), 16) / 255 for part in re.findall("." * (len(digits) // 3), digits)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_and_lines_stand_out_from_their_ground(scheme: str):
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text, which the lines' colours hold, too."""
    style = (files("lateen_operator.html_report") / "style.css").read_text()
    roots = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w]+): (#\w+)", roots[["light", "dark", "print"].index(scheme)]))
    for ground in ("paper", "panel"):
        for name in ("ink", "soft", "c1", "c2", "c3", "c4", "good", "warn", "bad", "calm"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, name, ground)
