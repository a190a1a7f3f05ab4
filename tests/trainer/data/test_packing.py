"""Packing: every target once, nothing across documents, and sequences that are nearly full."""

import bisect

import numpy as np
import pytest
from lateen_trainer.data.batch import PADDING, Batch
from lateen_trainer.data.packing import best_fit_decreasing, pack

SEQ_LEN = 32


def stream(documents: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that are all different, and the ends of documents from 1 to 150 tokens."""
    lengths = np.random.default_rng(seed).integers(1, 151, documents) // np.random.default_rng(1).integers(
        1, 9, documents
    )
    ends = np.cumsum(np.maximum(lengths, 1)).astype(np.uint64)
    return np.arange(int(ends[-1]), dtype=np.int32), ends


def read_all(tokens: np.ndarray, ends: np.ndarray, **options) -> Batch:
    packed = pack(ends, SEQ_LEN, **options)
    sequences = np.arange(len(packed))
    runs = lambda starts, length: tokens[starts[:, None] + np.arange(length)]  # noqa: E731
    return Batch(packed.read(sequences, runs), packed.segments(sequences))


@pytest.mark.parametrize("group", [1, 3, 1024])
def test_every_token_but_the_first_of_its_document_is_predicted_once_from_the_one_before_it(group):
    tokens, ends = stream(400)
    batch = read_all(tokens, ends, group=group)

    weights = batch.target_weights()
    targets, inputs = batch.tokens[:, 1:][weights], batch.tokens[:, :-1][weights]

    firsts = np.append(0, ends[:-1]).astype(np.int64)
    assert sorted(targets.tolist()) == sorted(set(tokens.tolist()) - set(firsts.tolist()))
    np.testing.assert_array_equal(targets, inputs + 1)


def test_a_segment_is_a_document_or_a_piece_of_one():
    tokens, ends = stream(400)
    batch = read_all(tokens, ends)
    document = np.searchsorted(ends, batch.tokens, side="right")
    for row, numbers, segments in zip(batch.tokens, document, batch.segments, strict=True):
        for segment in set(segments.tolist()) - {PADDING}:
            assert len(set(numbers[segments == segment])) == 1
            assert (np.diff(row[segments == segment]) == 1).all()
        assert (np.diff(segments[segments != PADDING]) >= 0).all()
        assert (segments[segments.tolist().index(PADDING) :] == PADDING).all() if PADDING in segments else True


def test_long_documents_are_cut_into_whole_sequences():
    packed = pack(np.array([3 * SEQ_LEN + 1, 3 * SEQ_LEN + 1 + 5]), SEQ_LEN)
    assert packed.starts.tolist() == [0, SEQ_LEN, 2 * SEQ_LEN, 3 * SEQ_LEN + 1]
    assert packed.lengths.tolist() == [SEQ_LEN + 1] * 3 + [5]
    assert len(packed) == 4


def test_a_group_depends_on_its_own_documents_only():
    _, ends = stream(2000)
    whole, half = pack(ends, SEQ_LEN, group=16), pack(ends[:1000], SEQ_LEN, group=16)
    same = len(half) - 40
    np.testing.assert_array_equal(whole.first[:same], half.first[:same])
    np.testing.assert_array_equal(whole.starts[: whole.first[same]], half.starts[: half.first[same]])


def test_sequences_are_nearly_full():
    _, ends = stream(5000)
    packed = pack(ends, SEQ_LEN)
    tokens = packed.lengths.sum()
    assert tokens / (len(packed) * (SEQ_LEN + 1)) > 0.99


def test_streams_without_a_target_make_no_sequence():
    assert len(pack(np.zeros(0, np.uint64), SEQ_LEN)) == 0
    assert len(pack(np.array([1, 2, 3]), SEQ_LEN)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_bins_are_those_of_best_fit_item_by_item(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 34, 300) if seed else np.full(50, 7)
    assert best_fit_decreasing(lengths, 33).tolist() == slow_best_fit(lengths, 33)


def slow_best_fit(lengths: np.ndarray, capacity: int) -> list[int]:
    bins, rooms = [0] * len(lengths), []  # rooms: (room, bin), sorted
    opened = 0
    for item in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        at = bisect.bisect_left(rooms, (lengths[item], -1))
        if at == len(rooms):
            room, chosen = capacity, opened
            opened += 1
        else:
            room, chosen = rooms.pop(at)
        bins[item] = chosen
        bisect.insort(rooms, (room - lengths[item], chosen))
    return bins
