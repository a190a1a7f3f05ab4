"""What `lateen plan` says of the training data: sequences and epochs of each source, exact where its cache is whole."""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from lateen_api.cli import main
from lateen_api.commands.sources import with_sources
from lateen_api.load import load_job
from lateen_api.plan import make_plan
from lateen_api.plan.mixture import planned_sources
from lateen_trainer.data.job_data import mixture_of, sequences_of_run
from lateen_trainer.data.mixture import BLOCK
from lateen_trainer.data.parts import stream_order
from trainer.data.dataset_hub import commit_of, serving

STEPS, BATCH, SEQ_LEN = 700, 8, 32


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """A job over two sources in two stages, the second of which begins within a block."""
    for name, documents in (("web", 400), ("books", 50)):
        records = [json.dumps({"text": f"{name} {number} " + "x" * (number % 40)}) for number in range(documents)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(records))
    return write_job(
        tmp_path,
        configs={name: {"trainUrls": [str(tmp_path / f"{name}.jsonl")]} for name in ("web", "books")},
        trainWeightStages=[
            {"step": 0, "weights": {"web": 0.9, "books": 0.1}},
            {"step": 300, "weights": {"web": 1, "books": 2}},
        ],
    )


def write_job(folder: Path, **data: object) -> Path:
    path = folder / "job.yaml"
    spec = {
        "model": {"seqLen": SEQ_LEN, "hiddenDim": 32, "numHeads": 2, "numLayers": 1},
        "data": {"tokenizer": "bytes", "cacheDir": str(folder / "cache"), **data},
        "trainer": {"numTrainSteps": STEPS, "trainBatchSize": BATCH},
    }
    job = {"apiVersion": "lateen.dev/v1alpha1", "kind": "LMTrainingJob", "metadata": {"name": "small"}, "spec": spec}
    path.write_text(yaml.safe_dump(job, sort_keys=False))
    return path


def lateen(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, [str(argument) for argument in arguments])


def planned(*arguments: object) -> tuple[dict[str, dict], list[str]]:
    """The sources by name, and the warnings."""
    result = lateen("plan", *arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    return {source["name"]: source for source in plan["sources"]}, plan["warnings"]


def rows(*arguments: object) -> list[str]:
    return [" ".join(line.split()) for line in lateen("plan", *arguments).stdout.splitlines()]


def test_of_a_whole_cache_sequences_and_epochs_are_those_of_the_run(job_file):
    assert lateen("data", "build", job_file, "--split", "train").exit_code == 0

    sources, _ = planned(job_file)

    read, _ = mixture_of(load_job(job_file).spec).locate(np.arange(STEPS * BATCH))
    inspected = {row["source"]: row for row in json.loads(lateen("data", "inspect", job_file, "-o", "json").stdout)}
    for number, name in enumerate(("web", "books")):
        source, sequences = sources[name], int((read == number).sum())
        assert source["sequences"] == sequences
        assert source["available"] == inspected[name]["sequences"] > 0
        assert source["epochs"] == pytest.approx(sequences / source["available"], rel=1e-12)
        assert inspected[name]["epochs"] == source["epochs"]
        assert source["share"] == pytest.approx(sequences / (STEPS * BATCH))
    web = sources["web"]
    assert (
        f"source web {100 * web['share']:.0f} % of the sequences: {web['sequences']:,}; {web['epochs']:,.2f} epochs of "
        f"{web['available']:,}" in rows(job_file)
    )


WEIGHTS = [
    {"web": 0.7, "books": 0.2, "code": 0.1},
    {"web": 0.6, "books": 0.3999, "code": 0.0001},  # code is due less than once per block
    {"web": 1, "books": 1, "code": 1},
]


@pytest.mark.parametrize("first", WEIGHTS)
@pytest.mark.parametrize("second", WEIGHTS)
def test_expected_sequences_are_those_of_the_run_where_stages_end_with_blocks(first, second, tmp_path):
    steps = [0, 3 * BLOCK // BATCH, 10 * BLOCK // BATCH]
    stages = [{"step": step, "weights": weights} for step, weights in zip(steps, (first, second), strict=False)]
    configs = {name: {"trainUrls": [name]} for name in first}
    job = load_job(
        write_job(tmp_path, configs=configs, trainWeightStages=stages), [f"trainer.numTrainSteps={steps[-1]}"]
    )
    expected = {source.name: source.sequences for source in planned_sources(job.spec)}
    read = sequences_of_run(job.spec)
    assert sum(expected.values()) == sum(read.values()) == 10 * BLOCK
    # Inside of a group of blocks, as a source that comes seldom makes them, counts are one off.
    assert all(abs(expected.get(name, 0) - count) <= 2 for name, count in read.items())
    if WEIGHTS[1] not in (first, second):
        assert expected == read


def test_where_a_job_of_a_cluster_keeps_its_cache_is_looked_at_too(tmp_path):
    (tmp_path / "a.txt").write_text("a text of some length " * 100)
    job = write_job(tmp_path, trainUrls=[str(tmp_path / "a.txt")], cacheDir=None)
    folder = tmp_path / "checkpoints"
    assert lateen("data", "build", job, "--set", f"data.cacheDir={folder}/cache").exit_code == 0
    in_cluster = ("--set", f"checkpoint.path={folder}", "--run-dir", tmp_path / "run")
    sources, _ = planned(job, *in_cluster)
    assert sources[""]["available"] == 2200 // SEQ_LEN
    (tmp_path / "run" / "cache").mkdir(parents=True)
    sources, _ = planned(job, *in_cluster)
    assert sources[""]["available"] is None, "a run on this machine has its own"


def test_without_looking_expected_sequences_are_within_a_part_of_the_blocks_that_a_stage_cuts_off(job_file):
    expected, _ = planned(job_file, "--no-data")
    read, _ = mixture_of(load_job(job_file).spec).locate(np.arange(STEPS * BATCH))
    ends = (300 * BATCH, STEPS * BATCH)
    cut_off = sum(end % BLOCK for end in (ends[0], ends[1] - ends[0]))
    for number, name in enumerate(("web", "books")):
        assert abs(expected[name]["sequences"] - int((read == number).sum())) <= cut_off / 10
        assert expected[name]["epochs"] is expected[name]["available"] is expected[name]["unknown"] is None
    assert sum(source["sequences"] for source in expected.values()) == STEPS * BATCH


def test_before_the_cache_is_built_files_are_known_and_epochs_come_with_it(job_file, tmp_path):
    sources, warnings = planned(job_file)

    size = (tmp_path / "books.jsonl").stat().st_size
    books = sources["books"]
    assert (books["files"], books["bytes"], books["available"], books["epochs"]) == (1, size, None, None)
    assert books["unknown"] == "known after the cache is built"
    assert not warnings
    assert not (tmp_path / "cache").exists(), "nothing is created"


def test_a_job_without_a_mixture_has_one_source(tmp_path):
    (tmp_path / "a.txt").write_text("a text of some length " * 100)
    job = write_job(tmp_path, trainUrls=[str(tmp_path / "a.txt")])
    assert f"data {STEPS * BATCH:,} sequences; epochs: known after the cache is built (1 file, 2.1 KiB)" in rows(job)
    assert lateen("data", "build", job).exit_code == 0
    available = 2200 // SEQ_LEN
    epochs = STEPS * BATCH / available
    assert f"data {STEPS * BATCH:,} sequences; {epochs:,.2f} epochs of {available:,}" in rows(job)


def test_a_source_that_is_not_seen_here_is_a_warning_and_hides_no_other(job_file, tmp_path):
    (tmp_path / "books.jsonl").unlink()
    sources, (warning,) = planned(job_file)
    assert sources["web"]["files"] == 1
    assert sources["books"]["unknown"] == "not known here"
    assert warning.startswith(
        f"Source books could not be looked at: spec.data.configs.books.trainUrls names '{tmp_path}/books.jsonl', which "
        "does not exist: expected a file that this machine can see."
    )


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A web server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


def test_a_storage_that_does_not_answer_is_left_after_the_timeout(job_file, silent_server):
    job = load_job(job_file, [f"data.configs.books.trainUrls=[{silent_server}/a.jsonl]"])
    began = time.monotonic()

    plan = with_sources(make_plan(job), job, Path("runs/small").absolute(), timeout=8)

    assert time.monotonic() - began < 20
    web, books = plan.sources
    assert (web.files, web.unknown) == (1, "known after the cache is built")
    assert (books.files, books.unknown) == (None, "not known here")
    assert plan.warnings[-1] == (
        "Source books could not be looked at: no answer of its storage within 8 s. Check the network, or use --no-data."
    )


def test_a_data_set_of_the_hub_is_resolved(tmp_path, monkeypatch):
    job = write_job(tmp_path, id="org/words")
    files = {"data/train.jsonl": b'{"text": "one"}\n', "data/test.jsonl": b'{"text": "two"}\n'}
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with serving({"org/words": {"main": files}}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        sources, warnings = planned(job)
        assert (sources[""]["files"], sources[""]["bytes"], warnings) == (1, 16, [])
        _, (warning,) = planned(job, "--set", "data.split=dev")
    assert warning == (
        "The training data could not be looked at: spec.data.id is 'org/words', which has no split 'dev': expected one "
        f"of test, train (looked at commit {commit_of(files)[:12]}). Correct the field, or name its files in "
        "spec.data.trainUrls (hf://datasets/…)."
    )
    _, (warning,) = planned(job)  # it is gone now
    assert f"spec.data.id is 'org/words': the Hugging Face hub ({hub.url}) cannot be reached" in warning


def test_without_the_trainer_the_plan_says_what_it_does_not_know(job_file, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tensorstore" else object())
    sources, warnings = planned(job_file)
    assert {source["unknown"] for source in sources.values()} == {
        "not known, since the trainer is not installed here (tensorstore is missing)"
    }
    assert not warnings


def test_a_process_that_fails_is_a_warning(job_file, monkeypatch, tmp_path):
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho 'Illegal instruction' >&2\nexit 132\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    _, warnings = planned(job_file)
    assert warnings[-1] == (
        "Source books could not be looked at: the process that looks ended with code 132 (Illegal instruction)."
    )


def test_a_cache_that_is_not_whole_says_how_far_it_is(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("a text of some length " * 400_000)  # each is a part
    job = write_job(tmp_path, trainUrls=[f"{tmp_path}/*.txt"])
    assert lateen("data", "build", job).exit_code == 0
    (ledger,) = (tmp_path / "cache").glob("train-*/ledger.json")
    ledger.unlink()
    order = stream_order(3, 0)
    (ledger.parent / "parts" / f"{order[-1]:05d}.json").unlink()

    sources, _ = planned(job)

    assert sources[""]["unknown"] == "known after the cache is built, 2 of its 3 parts are there"
    assert (sources[""]["files"], sources[""]["available"]) == (3, None)
