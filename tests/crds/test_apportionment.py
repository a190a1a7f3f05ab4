"""Whole numbers by shares: they add up, each its share rounded up or down, and keep to their bounds."""

from fractions import Fraction

import numpy as np
import pytest
from lateen_api.apportionment import apportion, apportion_between, shares


def test_shares_are_those_of_the_weights_as_they_are_written():
    assert shares(["a", "b", "c"], {"a": 0.1, "c": 0.2}) == [Fraction(1, 3), 0, Fraction(2, 3)]


@pytest.mark.parametrize("weights", [{"a": 0}, {"a": 1, "b": -1}, {}])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="expected numbers of at least 0, one of them above 0"):
        shares(["a", "b"], weights)


@pytest.mark.parametrize("seed", range(20))
def test_numbers_add_up_and_each_is_its_share_rounded(seed):
    rng = np.random.default_rng(seed)
    weights = {str(number): round(float(weight), 4) for number, weight in enumerate(rng.exponential(1, 12))}
    weights["0"] = 0.0
    parts, total = shares(list(weights), weights), int(rng.integers(0, 10_000))
    counts = apportion(parts, total)
    assert sum(counts) == total
    assert counts[0] == 0
    assert all(abs(count - part * total) < 1 for count, part in zip(counts, parts, strict=True))


def test_the_largest_remainders_are_rounded_up_and_equal_ones_in_their_order():
    assert apportion([Fraction(1, 3)] * 3, 8) == [3, 3, 2]
    assert apportion([Fraction(6, 10), Fraction(3, 10), Fraction(1, 10)], 9) == [5, 3, 1]


def test_bounds_hold():
    assert apportion_between([Fraction(1, 2), Fraction(1, 2)], 10, [7, 0], [10, 10]) == [7, 3]
    assert apportion_between([Fraction(1, 2), Fraction(1, 2)], 10, [0, 0], [4, 10]) == [4, 6]
