"""Curves: in braille for the terminal, in SVG for the run's folder, and the points that both are drawn from."""

import json
import math
import xml.etree.ElementTree as ElementTree

import pytest
from lateen_operator.local import braille
from lateen_operator.local.loss_chart import loss_chart
from lateen_operator.local.losses import MOST_POINTS, LossCurve, read_metrics

SVG = "{http://www.w3.org/2000/svg}"


class TestBraille:
    def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right(self):
        points = [(step, 3.0 - step) for step in range(4)]
        assert braille.curve(braille.binned(points, 2), 2, 1) == ["⠑⢄"]

    def test_a_level_line_lies_on_top(self):
        assert braille.curve(braille.binned([(0, 1.0), (9, 1.0)], 3), 3, 1) == ["⠉⠉⠉"]

    def test_points_of_one_column_are_averaged(self):
        assert braille.binned([(0, 1.0), (1, 3.0), (99, 5.0), (100, 7.0)], 1) == [(0, 3.0), (1, 7.0)]

    def test_a_single_point_is_a_dot(self):
        assert braille.curve(braille.binned([(5, 2.0)], 2), 2, 1) == ["⠁⠀"]


class TestLossCurve:
    def test_a_step_that_is_trained_again_replaces_its_loss(self):
        curve = LossCurve()
        for step, loss in ((1, 5.0), (2, 4.0), (1, 4.5)):
            curve.add(step, loss)
        assert curve.points() == [(1, 4.5), (2, 4.0)]

    def test_losses_that_are_not_finite_are_left_out(self):
        curve = LossCurve()
        for step, loss in enumerate((math.nan, math.inf, None, 2.0)):
            curve.add(step, loss)
        assert curve.points() == [(3, 2.0)]

    def test_it_holds_a_bounded_number_of_points(self):
        curve = LossCurve()
        for step in range(20 * MOST_POINTS):
            curve.add(step, 1.0)
        points = curve.points()
        assert MOST_POINTS / 2 <= len(points) <= MOST_POINTS
        assert points[-1][0] == 20 * MOST_POINTS - 1


class TestMetrics:
    @pytest.mark.parametrize("first", [1, 0], ids=["now", "before 0.2"])
    def test_of_a_file_are_read_with_steps_counted_as_trained(self, tmp_path, first):
        path = tmp_path / "metrics.jsonl"
        lines = [(first, {"loss": 5.0}), (first + 1, {"loss": 4.0}), (first + 1, {"validation_loss": 4.5})]
        lines = [{"step": step, **numbers} for step, numbers in lines]
        path.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 2, "lo')
        training, validation = read_metrics(path)
        assert training.points() == [(1, 5.0), (2, 4.0)]
        assert validation.points() == [(2, 4.5)]

    def test_of_no_file_are_none(self, tmp_path):
        training, validation = read_metrics(tmp_path / "metrics.jsonl")
        assert (training.points(), validation.points()) == ([], [])


class TestSvg:
    def test_shows_both_curves_the_entropy_and_round_axes(self):
        training = [(step, 5.5 - step / 100) for step in range(1, 301)]
        root = ElementTree.fromstring(loss_chart("nano <1>: loss", training, [(100, 4.6), (200, 3.7)], 3.2))
        lines = {line.get("class"): line.get("points", "").split() for line in root.iter(SVG + "polyline")}
        assert (len(lines["training"]), len(lines["validation"])) == (300, 2)
        texts = ["".join(text.itertext()) for text in root.iter(SVG + "text")]
        assert texts[0] == "nano <1>: loss"
        assert [text for text in texts if text in ("0", "100", "200", "300")] == ["0", "100", "200", "300"]
        assert "nats per token: training, validation (dashed), unigram entropy (dotted)" in texts

    def test_all_points_lie_within_the_picture(self):
        root = ElementTree.fromstring(loss_chart("x", [(1, 9.87), (7, 1.23)], []))
        [line] = root.iter(SVG + "polyline")
        for point in line.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 64 <= x <= 720 - 24
            assert 48 <= y <= 400 - 48

    def test_a_long_run_is_thinned_and_keeps_its_last_point(self):
        training = [(step, 1.0 + 1 / step) for step in range(1, 100_001)]
        picture = loss_chart("x", training, [])
        assert len(picture) < 20_000
        [line] = ElementTree.fromstring(picture).iter(SVG + "polyline")
        assert line.get("points", "").split()[-1].startswith("696.0,")

    def test_one_step_can_be_drawn(self):
        assert "<svg" in loss_chart("x", [(1, 2.0)], [])
