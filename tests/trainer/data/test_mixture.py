"""Mixtures: counts exact to one sequence in every block, stages from their step on, and all of it by number alone."""

from fractions import Fraction

import numpy as np
import pytest
from lateen_trainer.data.mixture import BLOCK, Mixture, Stage

WEIGHTS = {
    "thirds": {"a": 1.0, "b": 1.0, "c": 1.0},
    "decimals": {"a": 0.7, "b": 0.2, "c": 0.1},
    "one": {"a": 3.0},
    "less than one per block": {"a": 0.6, "b": 0.3999, "c": 0.0001},
    "much less": {"a": 1.0, "b": 2e-5, "c": 3e-6, "d": 0.5},
    "many small ones": {"a": 1.0, **{f"s{i}": 1e-4 for i in range(40)}},
    "many of many sizes": {f"s{i}": 1.7**-i for i in range(30)},
    "none of one": {"a": 1.0, "b": 0.0, "c": 2.0},
}


def mixture(weights: dict[str, float], seed: int = 0, block: int = BLOCK) -> Mixture:
    return Mixture(list(weights), [Stage(0, weights)], seed, block)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_behind_every_block_each_source_is_within_one_sequence_of_its_share(weights):
    order = mixture(weights)
    total = sum(Fraction(str(weight)) for weight in weights.values())
    before = dict.fromkeys(weights, 0)
    for block in [*range(1, 300), 10**6, 10**6 + 1]:
        counts = order.counts(block * BLOCK)
        assert sum(counts.values()) == block * BLOCK
        for name, weight in weights.items():
            assert abs(counts[name] - Fraction(str(weight)) / total * block * BLOCK) <= 1
            assert counts[name] >= before[name]
        before = counts


@pytest.mark.parametrize("seed", range(6))
def test_random_weights_of_all_sizes_keep_to_their_shares_and_never_fall(seed):
    """Many sources that are due once in several blocks, whose turns come together: where rounding is hardest."""
    rng = np.random.default_rng(seed)
    exponents = rng.uniform(-4, 0, 30) if seed % 2 else rng.choice([0.0, -3.0, -4.0], 30, p=[0.2, 0.4, 0.4])
    weights = {f"s{i}": round(float(10**exponent), 8) for i, exponent in enumerate(exponents)}
    total = sum(Fraction(str(weight)) for weight in weights.values())
    order, before = mixture(weights, block=256), dict.fromkeys(weights, 0)
    for block in range(1, 40):
        counts = order.counts(block * 256)
        assert sum(counts.values()) == block * 256
        for name, weight in weights.items():
            share = Fraction(str(weight)) / total * block * 256
            assert abs(counts[name] - round(share)) <= 1
            assert counts[name] >= before[name]
        before = counts


@pytest.mark.parametrize("weights", [WEIGHTS["thirds"], WEIGHTS["less than one per block"], WEIGHTS["many small ones"]])
def test_each_source_is_read_in_turn_without_gap_or_repetition(weights):
    order = mixture(weights, block=64)
    sources, positions = order.locate(np.arange(64 * 200))
    for number, name in enumerate(weights):
        own = positions[sources == number]
        np.testing.assert_array_equal(own, np.arange(len(own)))
        assert len(own) == order.counts(64 * 200)[name]


def test_counts_of_any_number_of_sequences_are_those_of_the_sequences():
    order = Mixture("abc", [Stage(0, {"a": 5, "b": 3, "c": 1}), Stage(1000, {"b": 1, "c": 1})], seed=3, block=64)
    sources, _ = order.locate(np.arange(2000))
    for length in (0, 1, 63, 64, 65, 700, 999, 1000, 1001, 1500, 2000):
        found = np.bincount(sources[:length], minlength=3).tolist()
        assert found == list(order.counts(length).values())


def test_a_stage_begins_exactly_at_its_sequence_and_sources_go_on_where_they_were():
    order = Mixture("abc", [Stage(0, {"a": 1}), Stage(777, {"b": 1, "a": 3}), Stage(5000, {"c": 1})], seed=1)
    sources, positions = order.locate(np.arange(6000))
    assert set(sources[:777]) == {0}
    assert set(sources[777:5000]) == {0, 1}
    assert set(sources[5000:]) == {2}
    for number in range(3):
        own = positions[sources == number]
        np.testing.assert_array_equal(own, np.arange(len(own)))
    assert np.bincount(sources[777 : 777 + BLOCK]).tolist() == [BLOCK * 3 // 4, BLOCK // 4]


def test_what_a_sequence_is_depends_on_its_number_alone():
    order = mixture(WEIGHTS["much less"], seed=5)
    asked = np.array([3, 2_000_000_017, 4097, 3, 10**12])
    sources, positions = order.locate(asked)
    for number, source, position in zip(asked, sources, positions, strict=True):
        fresh = mixture(WEIGHTS["much less"], seed=5).locate(np.array([number]))
        assert (fresh[0][0], fresh[1][0]) == (source, position)


def test_another_seed_permutes_otherwise_and_counts_alike():
    one, other = (mixture(WEIGHTS["decimals"], seed=seed) for seed in (0, 1))
    numbers = np.arange(BLOCK)
    assert (one.locate(numbers)[0] != other.locate(numbers)[0]).mean() > 0.3
    assert one.counts(BLOCK) == other.counts(BLOCK)


def test_sources_are_spread_over_a_block():
    sources, _ = mixture({"a": 1, "b": 1}).locate(np.arange(BLOCK))
    assert 400 < (sources[: BLOCK // 2] == 0).sum() < 624


def test_as_far_as_sources_reach_a_run_can_read():
    order = Mixture("abc", [Stage(0, {"a": 5, "b": 3, "c": 1}), Stage(1000, {"b": 1, "c": 1})], seed=3, block=64)
    sources, positions = order.locate(np.arange(2000))
    for available in ([None, None, None], [0, 9, 9], [300, 100, None], [10**6, 400, 300], [None, None, 0], [556, 0, 0]):
        lacking = [
            have is not None and at >= have
            for have, at in zip(np.array(available, object)[sources], positions, strict=True)
        ]
        expected = lacking.index(True) if True in lacking else 2000
        assert order.reach(available, 2000) == expected
        assert order.reach(available, 50) == min(50, expected)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([Stage(1, {"a": 1})], "expected 0 first"),
        ([Stage(0, {"a": 1}), Stage(0, {"b": 1})], "ascending"),
        ([Stage(0, {"a": 0.0})], "one of them above 0"),
        ([Stage(0, {"a": 1, "b": -1})], "at least 0"),
    ],
)
def test_stages_that_mean_nothing_are_refused(stages, message):
    with pytest.raises(ValueError, match=message):
        Mixture("ab", stages, seed=0)
