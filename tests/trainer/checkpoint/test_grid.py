"""How arrays are cut into files and chunks."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from lateen_trainer.checkpoint.grid import Grid, chunk_shape, file_shape, intersection, whole


def test_chunk_is_halved_along_all_axes_in_turn():
    assert chunk_shape((64, 64), item_bytes=1, limit=256) == (16, 16)


def test_leading_axis_is_cut_first():
    assert chunk_shape((64, 64), item_bytes=1, limit=2048) == (32, 64)


def test_odd_axis_is_spared_while_another_is_even():
    assert chunk_shape((50257, 768), item_bytes=4, limit=8 << 20) == (50257, 24)


def test_odd_axes_are_cut_by_their_smallest_factor():
    assert chunk_shape((15, 7), item_bytes=1, limit=35) == (5, 7)


def test_prime_axis_is_cut_to_single_elements():
    assert chunk_shape((7,), item_bytes=4, limit=4) == (1,)


def test_scalar_is_one_chunk():
    assert chunk_shape((), item_bytes=4, limit=1) == ()


def test_pieces_of_one_process_make_one_file():
    assert file_shape((16, 24), np.zeros((8, 2), int), item_bytes=4) == (16, 24)


def test_two_processes_make_two_files():
    assert file_shape((16, 24), np.repeat([0, 1], 4)[:, None], item_bytes=4) == (8, 24)


def test_pieces_of_alternating_processes_stay_apart():
    assert file_shape((16,), np.array([0, 1, 0, 1]), item_bytes=4) == (4,)


def test_files_do_not_outgrow_the_limit():
    assert file_shape((16,), np.zeros(8, int), item_bytes=4, limit=16) == (4,)


def test_piece_larger_than_a_file_is_cut():
    assert file_shape((16,), np.zeros(2, int), item_bytes=4, limit=16) == (4,)


def test_cell_numbers_are_row_major():
    grid = Grid((4, 6), (2, 3))
    assert [grid.box(n) for n in range(len(grid))] == [
        ((0, 2), (0, 3)),
        ((0, 2), (3, 6)),
        ((2, 4), (0, 3)),
        ((2, 4), (3, 6)),
    ]


def test_empty_array_has_no_cells():
    assert (len(Grid((0, 4), (1, 4))), list(Grid((0, 4), (1, 4)).overlapping(whole((0, 4))))) == (0, [])


@given(st.data())
def test_overlapping_cells_are_those_that_share_something(data):
    cell = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    shape = tuple(size * data.draw(st.integers(1, 4)) for size in cell)
    edges = [sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape]
    box = tuple((start, stop) for start, stop in edges)
    grid = Grid(shape, cell)
    assert list(grid.overlapping(box)) == [n for n in range(len(grid)) if intersection(grid.box(n), box) is not None]


@given(st.lists(st.integers(1, 60), max_size=3), st.integers(1, 200))
def test_chunks_fill_the_cell_exactly_and_keep_the_limit(shape, limit):
    chunk = chunk_shape(tuple(shape), 2, limit)
    assert all(size % piece == 0 for size, piece in zip(shape, chunk, strict=True))
    assert math.prod(chunk) * 2 <= max(limit, 2)
