"""Batches of training: any step at any time, read ahead, and rows that belong to one process."""

import threading
import time

import numpy as np
import pytest
from batch_order import BatchOrder
from lateen_trainer.data.loader import Loader
from lateen_trainer.data.run_sequences import RunSequences
from lateen_trainer.data.sequence_sources import check_enough, sequence_source
from lateen_trainer.data.skips import Skips
from lateen_trainer.errors import UserError


@pytest.fixture
def loader(cache) -> Loader:
    return make_loader(cache, batch_size=8)


def make_loader(cache, *, batch_size: int, seed: int = 3, **options) -> Loader:
    return Loader(RunSequences({"": sequence_source(cache, 32)}, seed), batch_size=batch_size, **options)


def order(cache, batch_size: int, seed: int = 3) -> BatchOrder:
    return BatchOrder((len(cache) - 1) // 32, batch_size, seed)


def test_a_batch_holds_the_sequences_that_the_order_names(cache, loader):
    stream = next(cache.blocks(len(cache)))
    tokens, segments, counted = loader.batch(5)
    assert tokens.shape == (8, 33)
    assert tokens.dtype == np.int32
    assert (segments, counted) == (None, None)
    for row, sequence in zip(tokens, order(cache, 8).indices(5), strict=True):
        assert np.array_equal(row, stream[32 * sequence : 32 * sequence + 33])


def test_an_epoch_predicts_every_token_once(cache):
    sequences = (len(cache) - 1) // 32
    loader = make_loader(cache, batch_size=sequences, seed=0)
    targets = loader.batch(0).tokens[np.argsort(order(cache, sequences, seed=0).indices(0)), 1:].ravel()
    assert np.array_equal(targets, next(cache.blocks(len(cache)))[1 : sequences * 32 + 1])


def test_rows_are_those_of_the_global_batch(loader):
    tokens = loader.batch(2).tokens
    assert np.array_equal(loader.rows(2, slice(2, 6)).tokens, tokens[2:6])
    assert np.array_equal(loader.rows(2, np.array([7, 0, 7])).tokens, tokens[[7, 0, 7]])


def test_prefetching_gives_the_same_batches_from_any_step(loader):
    with loader.prefetch(7, 12) as batches:
        found = list(batches)
    assert [step for step, _ in found] == [7, 8, 9, 10, 11]
    for step, batch in found:
        assert np.array_equal(batch.tokens, loader.batch(step).tokens)


def test_prefetching_some_rows(loader):
    with loader.prefetch(0, 2, rows=slice(4, 8)) as batches:
        for step, batch in batches:
            assert np.array_equal(batch.tokens, loader.batch(step).tokens[4:])


def test_prefetching_reads_no_more_than_its_depth_ahead(loader, monkeypatch):
    read: list[int] = []
    monkeypatch.setattr(loader, "rows", lambda step, rows: read.append(step))
    with loader.prefetch(0, 100, depth=3) as batches:
        assert next(batches)[0] == 0
        deadline = time.monotonic() + 10
        while len(read) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        # One taken, three in the queue, one in the thread's hands.
        assert read == [0, 1, 2, 3, 4]


def test_an_error_of_the_thread_is_raised_where_its_batch_would_come(loader, monkeypatch):
    rows = loader.rows

    def failing(step, wanted):
        if step == 2:
            raise OSError("the disk is gone")
        return rows(step, wanted)

    monkeypatch.setattr(loader, "rows", failing)
    with loader.prefetch(0, 10) as batches:
        assert [next(batches)[0], next(batches)[0]] == [0, 1]
        with pytest.raises(OSError, match="the disk is gone"):
            next(batches)
        with pytest.raises(StopIteration):
            next(batches)


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "batch prefetch"]


def test_closing_ends_the_thread_while_the_queue_is_full(loader):
    batches = loader.prefetch(0, 1_000_000)
    next(batches)
    assert len(prefetch_threads()) == 1
    batches.close()
    batches.close()
    assert prefetch_threads() == []
    assert list(batches) == []


def test_the_end_ends_the_thread(loader):
    assert len(list(loader.prefetch(0, 3))) == 3
    assert prefetch_threads() == []


def test_too_few_tokens_for_a_batch(cache):
    tokens, sequences = len(cache), (len(cache) - 1) // 1024
    with pytest.raises(UserError) as raised:
        check_enough(sequence_source(cache, 1024), 64)
    assert str(raised.value) == (
        f"spec.data.trainUrls hold {tokens:,} tokens in 10 documents, which make {sequences} sequences of 1,024 tokens "
        "(spec.model.seqLen): expected at least 65,537 tokens for one batch of 64 sequences. Add files, or make seqLen "
        "or spec.trainer.trainBatchSize smaller."
    )


def test_a_batch_of_all_sequences_is_enough(cache):
    sequences = (len(cache) - 1) // 32
    assert check_enough(sequence_source(cache, 32), sequences) == sequences
    with pytest.raises(UserError):
        check_enough(sequence_source(cache, 32), sequences + 1)


def test_a_skipped_batch_is_left_out(cache, loader):
    skipping = make_loader(cache, batch_size=8, skips=Skips({1: "its loss is nan"}))
    assert np.array_equal(skipping.batch(0).tokens, loader.batch(0).tokens)
    assert np.array_equal(skipping.batch(1).tokens, loader.batch(2).tokens)
