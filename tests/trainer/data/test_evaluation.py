"""Batches of the validation set."""

import numpy as np
import pytest
from lateen_trainer.data.evaluation import EvalBatches
from lateen_trainer.data.sequence_sources import sequence_source
from lateen_trainer.errors import UserError


def test_every_sequence_comes_once_in_the_order_of_the_stream(cache):
    sequences = (len(cache) - 1) // 100
    batches = list(EvalBatches(sequence_source(cache, 100), batch_size=16))
    assert len(batches) == -(-sequences // 16)
    tokens = np.concatenate([batch.tokens[mask == 1] for batch, mask in batches])
    stream = next(cache.blocks(len(cache)))
    assert np.array_equal(tokens[:, :-1].ravel(), stream[: sequences * 100])
    assert np.array_equal(tokens[:, 1:].ravel(), stream[1 : sequences * 100 + 1])


def test_the_last_batch_is_filled_up_and_masked(cache):
    sequences = (len(cache) - 1) // 100
    batches = EvalBatches(sequence_source(cache, 100), batch_size=16)
    *_, ((tokens, *_), mask) = batches
    real = sequences % 16
    assert real
    assert (tokens.shape, tokens.dtype, mask.dtype) == ((16, 101), np.int32, np.float32)
    assert mask.tolist() == [1.0] * real + [0.0] * (16 - real)
    assert (tokens[real:] == tokens[0]).all()
    assert batches.num_sequences == sequences


def test_max_batches_takes_the_first(cache):
    some, all_of_them = (
        list(EvalBatches(sequence_source(cache, 100), batch_size=16, max_batches=n)) for n in (2, None)
    )
    assert len(some) == 2
    for ((tokens, *_), mask), ((same, *_), _) in zip(some, all_of_them, strict=False):
        assert np.array_equal(tokens, same)
        assert mask.all()
    assert EvalBatches(sequence_source(cache, 100), batch_size=16, max_batches=2).num_sequences == 32


def test_rows_are_those_of_the_batch(cache):
    batches = EvalBatches(sequence_source(cache, 100), batch_size=16)
    number = len(batches) - 1
    (tokens, *_), mask = batches.rows(number, slice(None))
    (some, *_), some_mask = batches.rows(number, slice(8, 16))
    assert np.array_equal(some, tokens[8:])
    assert np.array_equal(some_mask, mask[8:])


def test_there_is_no_batch_behind_the_last(cache):
    batches = EvalBatches(sequence_source(cache, 100), batch_size=16)
    with pytest.raises(IndexError, match=f"batch {len(batches)} of {len(batches)}"):
        batches.rows(len(batches), slice(None))


def test_too_few_tokens_for_a_sequence(cache):
    with pytest.raises(UserError) as raised:
        EvalBatches(sequence_source(cache, 100_000), batch_size=16)
    assert "which make 0 sequences of 100,000 tokens (spec.model.seqLen)" in str(raised.value)
    assert str(raised.value).endswith(
        "expected at least 100,001 tokens for one sequence. Add files, or make seqLen smaller."
    )
