"""Parts of arrays in files: which bytes are read for them."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from lateen_trainer.checkpoint.grid import slices
from lateen_trainer.hugging_face.boxes import pieces, span, view


@st.composite
def boxes(draw):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    edges = [draw(st.tuples(st.integers(0, size - 1), st.integers(1, size))) for size in shape]
    return shape, tuple((min(a, b - 1), max(a + 1, b)) for a, b in edges)


@given(boxes(), st.integers(0, 100), st.integers(4, 400))
@settings(max_examples=300, deadline=None)
def test_the_pieces_of_a_box_are_the_box_and_read_no_more_than_the_gaps(case, gap, limit):
    shape, box = case
    array = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    data = array.tobytes()
    read = np.full(shape, -1, np.int32)

    for piece in pieces(shape, box, 4, gap=gap, limit=limit):
        start, stop = span(shape, piece, 4)
        assert stop - start <= max(limit, 4)
        values = view(data[start:stop], shape, piece, np.dtype(np.int32))
        assert (read[slices(piece)] == -1).all()
        read[slices(piece)] = values
        runs = np.diff(np.flatnonzero(np.isin(np.arange(start // 4, stop // 4), values)))
        assert (runs.max(initial=1) - 1) * 4 <= gap

    assert np.array_equal(read[slices(box)], array[slices(box)])
    read[slices(box)] = -1
    assert (read == -1).all()


def test_a_part_of_the_rows_is_one_read_and_a_part_of_the_columns_one_per_row():
    assert list(pieces((8, 1024), ((2, 4), (0, 1024)), 4, gap=0, limit=1 << 20)) == [((2, 4), (0, 1024))]
    assert len(list(pieces((8, 1024), ((0, 8), (0, 512)), 4, gap=2047, limit=1 << 20))) == 8
    assert len(list(pieces((8, 1024), ((0, 8), (0, 512)), 4, gap=2048, limit=1 << 20))) == 1
