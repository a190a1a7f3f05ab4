"""A data set in parts: how it is cut, what the stream of parts holds, and what is left of builders that are killed."""

import itertools
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st
from lateen_api.spec import DataSpec
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.leases import Leases
from lateen_trainer.data.parts import MOST_PARTS, cut, stream_order
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.source import SourceFile
from lateen_trainer.data.stream_arrays import StreamArrays
from lateen_trainer.data.tokenizer import ByteTokenizer

PART = 1600
"""Bytes: each file of the corpus is a part by itself."""


@pytest.fixture
def layout() -> Layout:
    return Layout(chunk=64, shard=1024, part=PART)


def build(corpus: Path, cache_dir: Path | str, layout: Layout, seed: int | None = None, **more) -> TokenCache:
    spec = DataSpec(tokenizer="bytes", train_urls=[f"{corpus}/*.txt"])
    return open_or_build_cache(
        spec, "train", ByteTokenizer(), str(cache_dir), progress=lambda _: None, seed=seed, layout=layout, **more
    )


def documents(corpus: Path) -> list[list[int]]:
    return [[*path.read_bytes(), 256] for path in sorted(corpus.iterdir())]


def files(sizes: Sequence[int]) -> list[SourceFile]:
    return [SourceFile(f"{number:03}.txt", "", size, "") for number, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(1, 400))
def test_each_file_is_in_one_part_and_small_ones_share_one(sizes, target):
    parts = cut(files(sizes), target)
    assert [file for part in parts for file in part.files] == files(sizes)
    assert [part.first for part in parts] == np.cumsum([0, *(len(part.files) for part in parts[:-1])]).tolist()
    for part, following in itertools.pairwise(parts):
        assert len(part.files) == 1 or part.size <= target
        assert part.size + following.files[0].size > target


def test_a_large_data_set_has_a_bounded_number_of_parts():
    assert len(cut(files([1 << 20] * 100_000), 8 << 20)) <= MOST_PARTS


def test_the_stream_holds_the_parts_in_the_order_of_the_seed(corpus, tmp_path, layout):
    texts = documents(corpus)
    for seed in (None, 0, 1):
        cache = build(corpus, tmp_path / "cache", layout, seed)
        order = stream_order(10, seed)
        assert [part.number for part in cache.parts] == order
        stream = [token for number in order for token in texts[number]]
        assert next(cache.blocks(1 << 20)).tolist() == stream
        ends = np.concatenate([cache.document_ends(part) for part in cache.parts])
        assert ends.tolist() == np.cumsum([len(texts[number]) for number in order]).tolist()
        starts = np.random.default_rng(0).integers(0, len(stream) - 4000, 20)
        assert cache.rows(starts, 4000).tolist() == [stream[start : start + 4000] for start in starts]
    assert stream_order(10, 0) != stream_order(10, 1)
    assert len(list((tmp_path / "cache").iterdir())) == 1  # the cache on disk does not depend on the seed


def test_the_tokens_of_files_do_not_depend_on_the_cut(corpus, tmp_path, layout):
    whole = build(corpus, tmp_path / "whole", Layout(chunk=64, shard=1024))
    parts = build(corpus, tmp_path / "parts", layout)
    assert (len(whole.parts), len(parts.parts)) == (1, 10)
    assert next(whole.blocks()).tolist() == next(parts.blocks()).tolist()
    assert parts.ledger.documents == whole.ledger.documents


def test_the_stream_grows_by_whole_parts_while_the_cache_is_built(corpus, tmp_path, layout):
    some = build(corpus, "memory://grows", layout, 3, enough=4000, context=(context := ts.Context()))
    assert not some.is_whole
    assert 4000 <= some.tokens_ready < 4000 + 2 * PART
    beginning = next(some.blocks())
    with pytest.raises(IndexError, match=f"{some.tokens_ready} are there"):
        some.rows(np.array([some.tokens_ready - 5]), 10)
    whole = build(corpus, "memory://grows", layout, 3, context=context)
    assert some.look() and some.is_whole
    assert some.ledger == whole.ledger
    assert np.array_equal(next(some.blocks())[: len(beginning)], beginning)
    some.verify()


class _SparseReader:
    """An array of a part whose item i is (i + salt) mod 251."""

    def __init__(self, salt: int):
        self._salt = salt

    def fetch(self, row: np.ndarray, start: int, batch: object) -> None:
        row[:] = (np.arange(start, start + len(row)) + self._salt) % 251


def test_parts_far_behind_two_to_the_32_are_found(layout, monkeypatch):
    sizes = [3_000_000_000, 0, 2**32 + 7, 5, 1]
    monkeypatch.setattr(StreamArrays, "_open", lambda _, name, part: _SparseReader(part.number))
    huge = StreamArrays("memory://huge", ts.Context(), layout=layout, dtype=np.dtype("<u2"))
    for number, size in enumerate(sizes):
        huge.append(number, ledgers.Record(size, 1, "", {}))
    assert huge.tokens == sum(sizes)
    begins = np.cumsum([0, *sizes])
    starts = np.array([0, 2_999_999_990, 3_000_000_000, 2**32 + 3_000_000_000 - 10, sum(sizes) - 20])
    for row, start in zip(huge.rows("tokens", starts, 20), starts.tolist(), strict=True):
        for offset in range(20):
            part = int(np.searchsorted(begins, start + offset, side="right")) - 1
            assert row[offset] == (start + offset - begins[part] + part) % 251


class TestLeases:
    """Who may build a part."""

    def leases(self, store: ts.KvStore, seconds: float = 1000.0) -> Leases:
        return Leases(store, seconds=seconds, clock=lambda: self.now)

    @pytest.fixture(autouse=True)
    def clock(self) -> None:
        self.now = 0.0
        self.store = ts.KvStore.open({"driver": "memory", "path": "leases/"}).result()

    def test_one_builder_has_a_part_until_it_gives_it_up(self):
        one, other = self.leases(self.store), self.leases(self.store)
        lease = one.take(7)
        assert lease is not None and other.take(7) is None
        lease.release()
        again = other.take(7)
        assert again is not None and one.take(7) is None
        again.release()

    def test_a_lease_that_is_not_renewed_is_taken_over(self):
        key = ledgers.name_of(ledgers.LEASES, 7)
        self.store.write(key, b'{"host": "elsewhere", "boot": "b", "pid": 1, "started": "2"}').result()
        leases = self.leases(self.store, 10)
        assert leases.take(7) is None
        self.now = 9
        assert leases.take(7) is None
        self.store.write(key, b"renewed").result()
        self.now = 11
        assert leases.take(7) is None
        self.now = 21
        lease = leases.take(7)
        assert lease is not None
        lease.release()

    def test_a_lease_that_is_renewed_is_kept(self):
        lease = Leases(self.store, seconds=0.1).take(7)
        other = Leases(self.store, seconds=0.3)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            assert other.take(7) is None
            time.sleep(0.02)
        assert lease is not None
        lease.release()

    def test_a_lease_of_a_process_that_is_gone_is_taken_over_at_once(self, tmp_path):
        store = ts.KvStore.open({"driver": "file", "path": f"{tmp_path}/"}).result()
        code = (
            "import os, sys, tensorstore as ts\n"
            "from lateen_trainer.data.leases import Leases\n"
            "Leases(ts.KvStore.open({'driver': 'file', 'path': sys.argv[1]}).result()).take(7)\n"
            "os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", code, f"{tmp_path}/"], check=False)
        assert ledgers.numbers(store, ledgers.LEASES) == {7}
        lease = self.leases(store).take(7)
        assert lease is not None
        lease.release()
        assert ledgers.numbers(store, ledgers.LEASES) == set()


def build_in_a_process(corpus: Path, cache_dir: Path, begun: Event) -> None:
    """What a builder does that may be killed."""

    def progress(_: object) -> None:
        begun.set()

    spec = DataSpec(tokenizer="bytes", train_urls=[f"{corpus}/*.txt"])
    layout = Layout(chunk=64, shard=1024, part=PART)
    open_or_build_cache(spec, "train", ByteTokenizer(), str(cache_dir), progress=progress, layout=layout)
    begun.set()  # another builder may have left nothing to do, and then there is no progress


@pytest.fixture(scope="module")
def start() -> Callable[[Path, Path], tuple[BaseProcess, Event]]:
    """Starts a builder: its process, and what is set once it is at work."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, "lateen_trainer.data.prepare"])

    def begin(corpus: Path, cache_dir: Path) -> tuple[BaseProcess, Event]:
        begun = processes.Event()
        process = processes.Process(target=build_in_a_process, args=(corpus, cache_dir, begun))
        process.start()
        return process, begun

    return begin


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a cache, but for the lock that TensorStore leaves behind in a process that is killed."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".__lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_four_builders_share_the_work_and_write_what_one_does(start, corpus, tmp_path, layout):
    build(corpus, tmp_path / "alone", layout)
    builders = [start(corpus, tmp_path / "shared") for _ in range(4)]
    for process, _ in builders:
        process.join(60)
        assert process.exitcode == 0
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


@pytest.mark.slow
def test_builders_killed_twenty_times_lose_and_double_nothing(start, corpus, tmp_path, layout):
    """SIGKILL to two builders at random moments of their work: buys those that nobody thought of. Where the cache is
    whole before the twentieth kill, the next one is begun."""
    build(corpus, tmp_path / "alone", layout)
    chance, kills, caches = random.Random(3), 0, [tmp_path / "killed-0"]
    while kills < 20:
        builders = [start(corpus, caches[-1]) for _ in range(2)]
        for _, begun in builders:
            assert begun.wait(60)
        time.sleep(chance.uniform(0, 0.08))
        for process, _ in builders:
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL
        if list(caches[-1].rglob("ledger.json")):
            caches.append(tmp_path / f"killed-{len(caches)}")
    for folder in caches:
        build(corpus, folder, layout).verify()
        assert contents(folder) == contents(tmp_path / "alone")
