"""Training that begins while the cache is built: the same losses to the bit as on a whole cache, whatever built it."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from late_builder import LateBuilder, details_of_waits, parts_of
from lateen_api.load import apply_overrides
from lateen_api.progress import Phase
from lateen_api.spec import DataSpec, LMTrainingJob
from lateen_api.termination import ExitCode
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.prepare_data import build_caches
from lateen_trainer.report.reporter import Reporter
from small_runs import SmallRuns

pytestmark = pytest.mark.slow

SEQ_LEN, BATCH, WINDOW, FILES = 16, 16, 100, 8
STEPS = 90
"""More than an epoch, which has 1,600 sequences or so."""

PARTS = Layout(chunk=64, shard=1024, part=1000)
"""Each file is a part."""


class Bench(SmallRuns):
    """Runs over texts of their own in several files."""

    def __init__(self, folder: Path):
        super().__init__(folder, seq_len=SEQ_LEN, batch_size=BATCH, steps=STEPS)
        letters = np.random.default_rng(1).choice(np.frombuffer(b"abcdefgh ", np.uint8), (FILES, 3210))
        for number, text in enumerate(letters):
            (folder / f"{number}.txt").write_bytes(text.tobytes())
        self.job["spec"]["data"] |= {"trainUrls": [f"{folder}/*.txt"], "shuffle": {"window": WINDOW}}

    def build(self, cache: Path, seed: int) -> None:
        spec = DataSpec(tokenizer="bytes", train_urls=[f"{self.folder}/*.txt"])
        open_or_build_cache(
            spec, "train", ByteTokenizer(), str(cache), progress=lambda _: None, seed=seed, layout=PARTS
        )

    def ledgers(self, cache: str) -> list[bytes]:
        return [path.read_bytes() for path in (self.folder / cache).rglob("ledger.json")]


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with parts_of(PARTS):
        yield


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    """The run `reference` has read a cache that was whole before it."""
    bench = Bench(tmp_path_factory.mktemp("streaming"))
    bench.build(bench.folder / "whole", seed=0)
    assert bench.run("reference", f"data.cacheDir={bench.folder}/whole").exit_code is ExitCode.DONE
    return bench


def test_losses_on_a_cache_that_is_being_built_are_those_on_a_whole_one(bench, monkeypatch):
    monkeypatch.setattr("lateen_trainer.train.BackgroundBuilder", LateBuilder)
    waits = details_of_waits(monkeypatch)
    outcome = bench.run("streaming", f"data.cacheDir={bench.folder}/streamed")

    assert outcome.exit_code is ExitCode.DONE
    assert bench.losses("streaming") == bench.losses("reference")
    assert waits and all(detail and ("files tokenized" in detail or "parts are there" in detail) for detail in waits)
    assert outcome.phase_seconds and outcome.phase_seconds[Phase.WAITING_FOR_DATA] > 0
    assert bench.summary("streaming")["unigramEntropy"] == bench.summary("reference")["unigramEntropy"]
    assert bench.ledgers("streamed") == bench.ledgers("whole")


def test_sigterm_while_data_is_waited_for_saves_and_the_next_attempt_goes_on(bench, monkeypatch):
    class Terminated(LateBuilder):
        def check(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    cache = f"data.cacheDir={bench.folder}/stopped-cache"
    monkeypatch.setattr("lateen_trainer.train.BackgroundBuilder", Terminated)
    stopped = bench.run("stopped", cache)
    assert stopped.exit_code is ExitCode.SAVED
    # Of the first part's 200 sequences two windows are there: twelve batches.
    assert stopped.step == 2 * WINDOW // BATCH
    monkeypatch.undo()
    assert bench.run("stopped", cache).exit_code is ExitCode.DONE
    assert bench.losses("stopped") == bench.losses("reference")


def test_losses_do_not_depend_on_how_many_built_the_cache(bench):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: bench.build(bench.folder / "shared", seed), (0, 1, 2, 0)))
    assert bench.ledgers("shared") == bench.ledgers("whole")
    bench.run("shared-run", f"data.cacheDir={bench.folder}/shared")
    assert bench.losses("shared-run") == bench.losses("reference")


def test_trainers_that_leave_tokenizing_to_other_pods_wait_for_these(bench, monkeypatch):
    """Here the other pod is a thread. The beginning is reported when two windows are there, long before the end."""
    cache = f"data.cacheDir={bench.folder}/prepared"
    settings = (cache, "data.prepare={hosts: 1}")
    ready = threading.Event()
    parts_at_first: list[int] = []

    class Pod:
        def data_ready(self) -> None:
            parts_at_first.append(len(list((bench.folder / "prepared").rglob("parts/*.json"))))
            ready.set()
            time.sleep(2)

        def phase(self, phase: Phase, detail: str | None = None) -> None: ...

        def reads(self, source: object) -> None: ...

        def skipped_documents(self, count: int) -> None: ...

    with ThreadPoolExecutor(1) as pool:
        spec = LMTrainingJob.model_validate(apply_overrides(bench.job, settings)).spec
        built = pool.submit(build_caches, spec, bench.folder, cast(Reporter, Pod()))
        assert ready.wait(30)
        assert parts_at_first == [1]
        outcome = bench.run("with-pods", *settings)
        built.result()
    assert outcome.exit_code is ExitCode.DONE
    assert bench.losses("with-pods") == bench.losses("reference")
    assert bench.ledgers("prepared") == bench.ledgers("whole")


def test_a_source_that_breaks_the_build_in_the_background_ends_the_run_with_its_message(bench, tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(6):
        (texts / f"{number}.jsonl").write_text(json.dumps({"text": "abcdefgh " * 350}) + "\n")
    # Of seed 0, this part is the last in the stream.
    (texts / "3.jsonl").write_text(json.dumps({"text": "a" * 1000}) + "\nnot JSON\n")
    urls = f"data.trainUrls=[{texts}/*.jsonl]"
    outcome = bench.run("broken", urls, f"data.cacheDir={tmp_path}/cache")
    assert outcome.exit_code is ExitCode.BAD_DATA
    assert outcome.message.startswith(f"{texts}/3.jsonl, line 2, is not JSON: ")
    assert outcome.step and outcome.step > 0
