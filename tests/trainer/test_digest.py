"""Sealed texts and digests."""

import jax.numpy as jnp
import numpy as np
import pytest
from lateen_trainer.digest import DamagedError, digest_array, digest_bytes, seal, unseal

BODY = {"step": 10, "loss": 3.5, "names": ["ä", "b"], "none": None}


def test_a_sealed_text_is_read_back():
    assert unseal(seal(BODY), "x") == BODY


def test_every_single_flipped_bit_breaks_the_seal():
    text = seal(BODY)
    for bit in range(len(text) * 8):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedError):
            unseal(bytes(flipped), "x")


def test_every_truncation_breaks_the_seal():
    text = seal(BODY)
    for length in range(len(text)):
        with pytest.raises(DamagedError):
            unseal(text[:length], "x")


def test_another_spelling_of_the_same_is_not_what_was_written():
    with pytest.raises(DamagedError, match=r"x does not have the digest it states"):
        unseal(seal(BODY) + b"\n", "x")


def test_numbers_that_are_no_json_are_refused():
    with pytest.raises(ValueError):
        seal({"loss": float("nan")})


def test_digest_does_not_depend_on_how_memory_lies():
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert digest_array(values[:, 2:5]) == digest_array(values[:, 2:5].copy())


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float8_e4m3fn, np.bool_, np.int32])
def test_digest_is_of_the_bytes(dtype):
    values = np.ones((2, 3), dtype)
    assert digest_array(values) == digest_bytes(values.tobytes())


def test_digest_is_xxh3_of_64_bits():
    assert digest_bytes(b"") == "2d06800538d394c2"
