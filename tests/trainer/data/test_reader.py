"""Reading runs of tokens, and noticing what has become of them on disk."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.layout import open_array
from lateen_trainer.data.reader import ArrayReader, MappedArray, StoredArray
from lateen_trainer.errors import DataError


class Rows:
    """Runs of an array by one of its readers."""

    def __init__(self, reader: ArrayReader):
        self._reader = reader

    def read(self, starts: np.ndarray, length: int) -> np.ndarray:
        rows = np.empty((len(starts), length), np.int32)
        with ts.Batch() as batch:
            pending = [self._reader.fetch(row, start, batch) for row, start in zip(rows, starts.tolist(), strict=True)]
        for wait in pending:
            if wait is not None:
                wait()
        return rows


TOKENS = "data/00000/tokens"


def mapped(cache: TokenCache) -> Rows:
    ledger = cache.ledger
    dtype = np.dtype(ledger.dtype)
    return Rows(MappedArray(Path(cache.url, TOKENS), length=ledger.tokens, dtype=dtype, layout=ledger.layout))


def stored(cache: TokenCache) -> Rows:
    array = open_array({"driver": "file", "path": f"{cache.url}/"}, TOKENS, ts.Context())
    return Rows(StoredArray(array, cache.url))


READERS = [mapped, stored]


def expected(corpus: Path) -> np.ndarray:
    return np.array([token for path in sorted(corpus.iterdir()) for token in [*path.read_bytes(), 256]])


@pytest.mark.parametrize("reader", READERS)
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_runs_are_those_of_the_stream(cache, corpus, reader, data):
    """Within chunks, across chunks of 64 tokens, across shards of 1024, up to the end."""
    stream = expected(corpus)
    length = data.draw(st.integers(1, 2500))
    starts = data.draw(st.lists(st.integers(0, len(stream) - length), min_size=1, max_size=5))
    rows = reader(cache).read(np.array(starts), length)
    assert rows.dtype == np.int32
    assert np.array_equal(rows, np.stack([stream[start : start + length] for start in starts]))


@pytest.mark.parametrize("reader", READERS)
def test_no_rows(cache, reader):
    assert reader(cache).read(np.empty(0, np.int64), 5).shape == (0, 5)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("position", [0, 127, 128, 131])
def test_a_flipped_bit_in_a_chunk_or_its_checksum_is_found(cache, reader, position):
    flip(Path(cache.url, "data/00000/tokens/c/1"), position)
    tokens = reader(cache)
    tokens.read(np.array([0, 1024 + 64]), 64)  # the chunks beside it can be read
    with pytest.raises(DataError, match="The cache of tokens is corrupt: "):
        tokens.read(np.array([1030]), 10)


@pytest.mark.parametrize("position", [-1, -5, -260])
def test_a_flipped_bit_in_the_index_of_a_shard_is_found(cache, position):
    flip(Path(cache.url, "data/00000/tokens/c/1"), position)
    with pytest.raises(DataError, match=r"data/00000/tokens/c/1: the CRC of its index is wrong"):
        mapped(cache)


@pytest.mark.parametrize("reader", READERS)
def test_a_lost_shard_is_found(cache, reader):
    Path(cache.url, "data/00000/tokens/c/2").unlink()
    with pytest.raises(DataError, match=r"corrupt: .*tokens/c/2"):
        reader(cache).read(np.array([2048]), 10)


@pytest.mark.parametrize("size", [0, 100, 1000, 2001])
def test_a_shard_that_was_cut_off_is_found(cache, size):
    path = Path(cache.url, "data/00000/tokens/c/0")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"corrupt: .*tokens/c/0: (it is \d+ bytes long|the CRC of its index is wrong)"):
        mapped(cache)


def test_the_message_says_what_to_do(cache):
    Path(cache.url, "data/00000/tokens/c/0").unlink()
    with pytest.raises(DataError) as raised:
        cache.rows(np.array([0]), 10)
    assert str(raised.value) == (
        f"The cache of tokens is corrupt: {cache.url}/{TOKENS}/c/0: it cannot be read: No such file or directory. "
        "Delete the cache's folder; it is built again, with the same tokens, at the next start."
    )


def test_verify_finds_tokens_that_are_others_in_whole_chunks(cache):
    """A shard of another cache has right checksums, but is not what the ledger tells of."""
    first, second = Path(cache.url, "data/00000/tokens/c/0"), Path(cache.url, "data/00000/tokens/c/1")
    cache.verify()
    second.write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="00000/tokens holds other tokens than were written"):
        cache.verify()


def test_memory_that_was_given_back_is_read_again(cache):
    reader = MappedArray(
        Path(cache.url, TOKENS), length=len(cache), dtype=np.dtype(cache.ledger.dtype), layout=cache.ledger.layout
    )
    before, after = np.empty(1500, np.int32), np.empty(1500, np.int32)
    reader.fetch(before, 700)
    reader.release()
    reader.release()
    reader.fetch(after, 700)
    np.testing.assert_array_equal(after, before)


def test_a_reader_needs_no_more_memory_for_a_larger_cache(tmp_path):
    """600 MB of tokens, of which 2,000 batches touch all: mapped pages count as memory of the process."""
    script = Path(__file__).parents[2] / "benchmarks" / "sparse_cache.py"
    command = [sys.executable, str(script), str(tmp_path / "cache"), str(3 * 10**8)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)
    assert found["grown"] < 100 << 20
