"""Batches of training: any step at any time, read ahead, and rows that belong to one process."""

import threading
import time

import numpy as np
import pytest
from lateen_trainer.data.loader import Loader
from lateen_trainer.data.skips import Skips
from lateen_trainer.errors import UserError


@pytest.fixture
def loader(cache) -> Loader:
    return Loader(cache, batch_size=8, seq_len=32, seed=3)


def test_a_batch_holds_the_sequences_that_the_order_names(cache, loader):
    stream = next(cache.blocks(len(cache)))
    batch = loader.batch(5)
    assert batch.shape == (8, 33)
    assert batch.dtype == np.int32
    for row, sequence in zip(batch, loader.order.indices(5), strict=True):
        assert np.array_equal(row, stream[32 * sequence : 32 * sequence + 33])


def test_an_epoch_predicts_every_token_once(cache):
    sequences = (len(cache) - 1) // 32
    loader = Loader(cache, batch_size=sequences, seq_len=32, seed=0)
    targets = loader.batch(0)[np.argsort(loader.order.indices(0)), 1:].ravel()
    assert np.array_equal(targets, next(cache.blocks(len(cache)))[1 : sequences * 32 + 1])


def test_rows_are_those_of_the_global_batch(loader):
    batch = loader.batch(2)
    assert np.array_equal(loader.rows(2, slice(2, 6)), batch[2:6])
    assert np.array_equal(loader.rows(2, np.array([7, 0, 7])), batch[[7, 0, 7]])


def test_prefetching_gives_the_same_batches_from_any_step(loader):
    with loader.prefetch(7, 12) as batches:
        found = list(batches)
    assert [step for step, _ in found] == [7, 8, 9, 10, 11]
    for step, batch in found:
        assert np.array_equal(batch, loader.batch(step))


def test_prefetching_some_rows(loader):
    with loader.prefetch(0, 2, rows=slice(4, 8)) as batches:
        for step, batch in batches:
            assert np.array_equal(batch, loader.batch(step)[4:])


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
        Loader(cache, batch_size=64, seq_len=1024, seed=0)
    assert str(raised.value) == (
        f"spec.data.trainUrls hold {tokens:,} tokens in 10 documents, which make {sequences} sequences of 1,024 tokens "
        "(spec.model.seqLen): expected at least 65,537 tokens for one batch of 64 sequences. Add files, or make seqLen "
        "or spec.trainer.trainBatchSize smaller."
    )


def test_a_batch_of_all_sequences_is_enough(cache):
    sequences = (len(cache) - 1) // 32
    assert Loader(cache, batch_size=sequences, seq_len=32, seed=0).batch(0).shape == (sequences, 33)
    with pytest.raises(UserError):
        Loader(cache, batch_size=sequences + 1, seq_len=32, seed=0)


def test_a_skipped_batch_is_left_out(cache, loader):
    skipping = Loader(cache, batch_size=8, seq_len=32, seed=3, skips=Skips({1: "its loss is nan"}))
    assert np.array_equal(skipping.batch(0), loader.batch(0))
    assert np.array_equal(skipping.batch(1), loader.batch(2))
