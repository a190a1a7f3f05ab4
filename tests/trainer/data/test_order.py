"""The order of sequences: a bijection per epoch, and the same for ever."""

import numpy as np
import pytest
from batch_order import BatchOrder
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lateen_trainer.data.order import Permutation, SequenceOrder

POWERS = [2**exponent + offset for exponent in range(1, 13) for offset in (-1, 0, 1)]
LARGE = [95_000_001, 100_000_007, 2**32 - 1, 2**32 + 1, 10**12 + 39, 2**53 + 1, 2**62]


@pytest.mark.parametrize("size", sorted({1, 2, 3, 5, 6, 7, *POWERS}))
def test_every_item_comes_once(size):
    assert sorted(Permutation(size, "key")(np.arange(size)).tolist()) == list(range(size))


@given(size=st.integers(1, 20_000), key=st.text(max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_size_and_key_give_a_bijection(size, key):
    items = Permutation(size, key)(np.arange(size))
    assert np.array_equal(np.sort(items), np.arange(size))


@given(size=st.integers(1, 2**62), data=st.data())
@settings(max_examples=100, deadline=None)
def test_inverse_finds_the_position_again(size, data):
    positions = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))
    permutation = Permutation(size, "key")
    items = permutation(positions)
    assert ((items >= 0) & (items < size)).all()
    assert np.array_equal(permutation.inverse(items), positions)
    assert np.array_equal(permutation(permutation.inverse(positions)), positions)


@pytest.mark.parametrize("size", LARGE)
def test_beyond_1e8_items_no_two_positions_meet(size):
    """Sizes at which a product modulo the size leaves 64 bits, where a peer's shuffle repeats items."""
    positions = np.random.default_rng(0).integers(0, size, 200_000)
    positions = np.unique(np.concatenate([positions, np.arange(1000), size - 1 - np.arange(1000)]))
    permutation = Permutation(size, "key")
    items = permutation(positions)
    assert len(np.unique(items)) == len(positions)
    assert items.min() >= 0
    assert items.max() < size
    assert np.array_equal(permutation.inverse(items), positions)


def test_all_orders_of_four_items_are_about_equally_frequent():
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(4800):
        order = tuple(Permutation(4, str(seed))(np.arange(4)).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    # 200 expected of each, standard deviation 14.
    assert min(counts.values()) > 130
    assert max(counts.values()) < 270


def test_an_item_lands_anywhere():
    """Chi-square over 64 cells of where neighbouring items of 2^20 land: mean 63, standard deviation 11."""
    positions = Permutation(2**20, "key").inverse(np.arange(64_000))
    cells = np.bincount(positions // 2**14, minlength=64)
    assert ((cells - 1000) ** 2 / 1000).sum() < 63 + 5 * 11


def test_neighbours_in_the_stream_are_no_neighbours_in_the_order():
    items = Permutation(100_000, "key")(np.arange(100_000))
    steps = np.abs(np.diff(items))
    # Independent uniform positions are a third of the range apart on average.
    assert abs(steps.mean() / (100_000 / 3) - 1) < 0.01
    assert (steps == 1).sum() < 15  # two are expected


def test_seeds_give_unrelated_orders():
    first = BatchOrder(1000, 1000, seed=0).indices(0)
    second = BatchOrder(1000, 1000, seed=1).indices(0)
    assert (first == second).sum() < 8  # one is expected
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_epochs_give_unrelated_orders():
    order = BatchOrder(1000, 1000, seed=0)
    assert (order.indices(0) == order.indices(1)).sum() < 8
    assert abs(np.corrcoef(order.indices(0), order.indices(1))[0, 1]) < 0.1


@given(sequences=st.integers(1, 50), batch=st.integers(1, 20), epochs=st.integers(1, 3), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_epochs_follow_without_a_seam(sequences, batch, epochs, seed):
    order = BatchOrder(sequences, batch, seed)
    steps = -(-sequences * epochs // batch)
    items = np.concatenate([order.indices(step) for step in range(steps)])
    for epoch in range(epochs):
        in_epoch = items[epoch * sequences : (epoch + 1) * sequences]
        assert np.array_equal(np.sort(in_epoch), np.arange(sequences))


def test_a_batch_larger_than_the_data_set_holds_several_epochs():
    indices = BatchOrder(3, 9, seed=5).indices(7)
    assert np.bincount(indices).tolist() == [3, 3, 3]


def test_the_order_never_changes():
    """Golden values: a change would make every run that is resumed see other data than before."""
    assert BatchOrder(1000, 8, seed=0).indices(0).tolist() == [745, 569, 11, 268, 985, 463, 503, 993]
    assert BatchOrder(1000, 8, seed=17).indices(124).tolist() == [96, 355, 293, 507, 55, 430, 576, 6]
    assert BatchOrder(10**12, 4, seed=2**31 - 1).indices(10**15).tolist() == [
        444465466652,
        464960431617,
        977304001496,
        219489732884,
    ]


@pytest.mark.parametrize(("sequences", "batch"), [(0, 1), (1, 0), (-1, 4)])
def test_sizes_below_one_are_refused(sequences, batch):
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        BatchOrder(sequences, batch, seed=0)


def test_negative_steps_are_refused():
    with pytest.raises(ValueError, match="step -1: expected 0 or more"):
        BatchOrder(10, 2, seed=0).indices(-1)


def test_positions_outside_are_refused():
    with pytest.raises(IndexError, match=r"outside 0\.\.9"):
        Permutation(10, "key")(np.array([10]))


EDGES = sorted({1, 2, 3, 7, 64, 101, 997, 9973, 10_000, *(2**e + o for e in (6, 10, 13) for o in (-1, 0, 1))})


@pytest.mark.parametrize("sequences", EDGES)
@pytest.mark.parametrize("window", [1, 7, 101, 1024, 10_001])
def test_windows_hold_every_sequence_once_per_epoch(sequences, window):
    sequences = min(sequences, 50 * window)
    order = SequenceOrder(sequences, seed=4, window=window)
    for epoch in (0, 1, 5):
        items = order.indices(np.arange(epoch * sequences, (epoch + 1) * sequences))
        assert np.array_equal(np.sort(items), np.arange(sequences))


@given(sequences=st.integers(1, 10_000), window=st.integers(1, 12_000), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_the_first_epoch_takes_windows_as_they_lie_and_later_ones_keep_them_together(sequences, window, seed):
    order = SequenceOrder(sequences, seed, window)
    count = -(-sequences // window)
    assume(count <= 60)
    first, second = (order.indices(np.arange(epoch * sequences, (epoch + 1) * sequences)) for epoch in (0, 1))
    assert np.array_equal(first // window, np.arange(sequences) // window)
    changes = np.flatnonzero(np.diff(second // window))
    assert len(changes) == count - 1  # each window is one run


@pytest.mark.parametrize("window", [1000, 5000])
def test_a_data_set_within_one_window_has_the_order_of_full(window):
    positions = np.arange(3500)
    assert np.array_equal(
        SequenceOrder(1000, 3, window).indices(positions), SequenceOrder(1000, 3, None).indices(positions)
    )


def test_later_epochs_permute_the_windows():
    order = SequenceOrder(100_000, seed=0, window=1000)
    windows = order.indices(np.arange(100_000, 200_000, 1000)) // 1000
    assert sorted(windows.tolist()) == list(range(100))
    assert (windows == np.arange(100)).sum() < 8  # one is expected


def test_the_order_of_whole_windows_is_known_before_the_number_of_sequences():
    known, unknown = SequenceOrder(10_500, 8, 1000), SequenceOrder(None, 8, 1000)
    positions = np.arange(10_000)
    assert np.array_equal(known.indices(positions), unknown.indices(positions))


def test_a_step_far_into_a_run_of_three_billion_sequences_costs_no_more_than_the_first():
    sequences, window = 3_000_000_019, 1_000_000
    order = SequenceOrder(sequences, 1, window)
    at = 41 * sequences + np.random.default_rng(0).integers(0, sequences, 40)
    items = order.indices(at)
    assert len(np.unique(items)) == len(at)
    # All of the epoch's positions in the window of one of them hold that window's items, found by the neighbours.
    around = order.indices(np.arange(at[0] - 50, at[0] + 50))
    assert len(np.unique(around)) == 100 and len(np.unique(around // window)) <= 2


def test_sources_have_orders_of_their_own():
    first, second = (SequenceOrder(1000, 0, key=key).indices(np.arange(1000)) for key in ("web", "books"))
    assert (first == second).sum() < 8


def test_the_order_of_windows_never_changes():
    """Golden values, as for whole epochs."""
    order = SequenceOrder(1000, 7, 300)
    assert order.indices(np.array([0, 299, 300, 999, 1000, 1999])).tolist() == [16, 40, 384, 995, 373, 68]
