"""Mixtures whose training begins while their sources are tokenised: the same losses to the bit as on whole caches."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from late_builder import LateBuilder, details_of_waits, parts_of
from lateen_api.load import apply_overrides
from lateen_api.progress import Phase
from lateen_api.spec import JobSpec, LMTrainingJob
from lateen_api.termination import ExitCode
from lateen_trainer.data.job_data import JobSource, job_sources, mixture_of, needed_first
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.errors import UserError
from lateen_trainer.prepare_data import build_caches
from lateen_trainer.report.reporter import Reporter
from small_runs import SmallRuns

pytestmark = pytest.mark.slow

SEQ_LEN, BATCH, WINDOW, STEPS = 16, 16, 50, 60

PARTS = Layout(chunk=64, shard=1024, part=1000)
"""Each file is a part."""

FILES = {"web": 5, "books": 3, "code": 2}
"""Of 100 sequences each. The run reads 1.0 epochs of web, 1.1 of books and 1.0 of code."""


class Bench(SmallRuns):
    """Runs on a mixture of three sources, of which `code` comes in from step 36 on."""

    def __init__(self, folder: Path):
        super().__init__(folder, seq_len=SEQ_LEN, batch_size=BATCH, steps=STEPS)
        rng = np.random.default_rng(2)
        configs = {}
        for name, files in reversed(FILES.items()):  # code stands first and is needed last
            (folder / name).mkdir()
            for number in range(files):
                letters = rng.choice(np.frombuffer(name.encode() + b" ", np.uint8), 1605)
                (folder / name / f"{number}.txt").write_bytes(letters.tobytes())
            configs[name] = {"trainUrls": [f"{folder}/{name}/*.txt"]}
        self.job["spec"]["data"] = {
            "tokenizer": "bytes",
            "configs": configs,
            "shuffle": {"window": WINDOW},
            "trainWeightStages": [
                {"step": 0, "weights": {"web": 2, "books": 1}},
                {"step": 36, "weights": {"web": 1, "books": 1, "code": 1}},
            ],
        }

    @property
    def spec(self) -> JobSpec:
        return LMTrainingJob.model_validate(self.job).spec

    def build(self, cache: str, seed: int = 0) -> None:
        def build(source: JobSource) -> None:
            open_or_build_cache(
                source.data, source.split, ByteTokenizer(), str(self.folder / cache), progress=lambda _: None,
                where=source.where, seed=seed, layout=PARTS,
            )  # fmt: skip

        for source in job_sources(self.spec.data, "train"):
            build(source)

    def ledgers(self, cache: str) -> set[bytes]:
        return {path.read_bytes() for path in (self.folder / cache).rglob("ledger.json")}


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with parts_of(PARTS):
        yield


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    """The run `reference` has read caches that were whole before it."""
    bench = Bench(tmp_path_factory.mktemp("mixtures"))
    bench.build("whole")
    assert bench.run("reference", f"data.cacheDir={bench.folder}/whole").exit_code is ExitCode.DONE
    return bench


@pytest.fixture
def waits(monkeypatch) -> list[str | None]:
    return details_of_waits(monkeypatch)


def test_losses_on_a_mixture_that_is_being_built_are_those_on_whole_caches(bench, waits, monkeypatch):
    monkeypatch.setattr("lateen_trainer.train.BackgroundBuilder", LateBuilder)
    outcome = bench.run("streaming", f"data.cacheDir={bench.folder}/streamed")
    assert outcome.exit_code is ExitCode.DONE
    assert bench.losses("streaming") == bench.losses("reference")
    assert len(bench.losses("streaming")) == STEPS
    assert bench.summary("streaming")["unigramEntropy"] == bench.summary("reference")["unigramEntropy"]
    assert bench.summary("streaming")["sample"] == bench.summary("reference")["sample"]
    assert bench.ledgers("streamed") <= bench.ledgers("whole")
    assert waits and {detail and detail.partition(":")[0] for detail in waits} <= {"web", "books", "code"}


def test_only_what_the_first_batch_needs_is_built_before_training(bench, monkeypatch):
    def begin(report: Reporter, *_: object) -> None:
        raise UserError("stopped before the first step")

    monkeypatch.setattr(Reporter, "begin", begin)
    monkeypatch.setattr("lateen_trainer.train.BackgroundBuilder", LateBuilder)
    outcome = bench.run("begun", f"data.cacheDir={bench.folder}/begun")
    assert outcome.message == "stopped before the first step"
    assert needed_first(bench.spec) == {"code": 0, "books": WINDOW, "web": WINDOW}
    # Of two sources the first part, which has 100 sequences.
    assert len(list((bench.folder / "begun").glob("*/parts/*.json"))) == 2


def test_losses_on_a_mixture_do_not_depend_on_how_many_built_its_caches(bench):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda seed: bench.build("shared", seed), (0, 1, 0)))
    assert bench.ledgers("shared") == bench.ledgers("whole")
    bench.run("shared-run", f"data.cacheDir={bench.folder}/shared")
    assert bench.losses("shared-run") == bench.losses("reference")


class Pod:
    """What a pod of `data.prepare` reports."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        """Each file that was begun: its source, and which of the source's it was, from 1."""
        self.begun_before_ready = 0

    def phase(self, phase: Phase, detail: str | None = None) -> None:
        found = re.match(r"(\w+) \(train\): (\d+) of \d+ files", detail or "")
        if found and int(found[2]) and (file := (found[1], int(found[2]))) not in self.begun:
            self.begun.append(file)

    def data_ready(self) -> None:
        self.begun_before_ready = len(self.begun)

    def reads(self, source: object) -> None: ...

    def skipped_documents(self, count: int) -> None: ...


def test_pods_that_tokenize_go_on_with_the_source_that_training_would_wait_for(bench):
    cache = f"data.cacheDir={bench.folder}/prepared"
    spec = LMTrainingJob.model_validate(apply_overrides(bench.job, [cache, "data.prepare={hosts: 1}"])).spec
    pod = Pod()
    build_caches(spec, bench.folder, cast(Reporter, pod))

    # A file has 100 sequences: the next one is needed where the run reads sequence 100, 200, … of the source.
    mixture = mixture_of(spec)
    sources, positions = mixture.locate(np.arange(STEPS * BATCH))
    needed = {
        (name, file + 1): int(np.flatnonzero((sources == mixture.names.index(name)) & (positions >= 100 * file))[0])
        for name, files in FILES.items()
        for file in range(files)
    }
    assert pod.begun == [("books", 1), ("web", 1), *sorted(needed.keys() - {("books", 1), ("web", 1)}, key=needed.get)]
    assert pod.begun_before_ready == 2
    assert bench.ledgers("prepared") == bench.ledgers("whole")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "spec.data.configs.code.trainUrls: its 1 files hold no text"),
        ("short", "spec.data.configs.code.trainUrls hold 6 tokens in 1 documents, which make 0 sequences"),
    ],
)
def test_a_source_with_too_little_text_ends_the_run_before_its_stage(bench, tmp_path, text, message):
    (tmp_path / "code.txt").write_text(text)
    code = f"data.configs.code.trainUrls=[{tmp_path}/code.txt]"
    outcome = bench.run(f"bad-{len(text)}", code, f"data.cacheDir={tmp_path}/cache")
    assert outcome.exit_code is ExitCode.USER_ERROR
    assert outcome.message.startswith(message)
    assert outcome.step and 0 < outcome.step <= 36
