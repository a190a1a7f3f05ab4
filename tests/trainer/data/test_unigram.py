"""Entropy of single tokens."""

import math

import numpy as np
import pytest
from lateen_trainer.data.unigram import unigram_entropy


def test_equally_frequent_tokens_have_the_entropy_of_their_number():
    assert unigram_entropy([np.arange(257)]) == pytest.approx(math.log(257))


def test_one_token_alone_has_none():
    assert unigram_entropy([np.full(10, 7)]) == 0.0


def test_frequencies_are_counted_over_all_blocks():
    blocks = [np.array([0, 0]), np.array([5]), np.array([], np.int32), np.array([1])]
    assert unigram_entropy(blocks) == pytest.approx(0.5 * math.log(2) + 2 * 0.25 * math.log(4))


def test_no_tokens():
    with pytest.raises(ValueError, match="no tokens"):
        unigram_entropy([])
