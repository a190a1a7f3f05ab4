"""`lateen data`: what its commands print and exit with."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from lateen_api.cli import main
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import find_cache, open_or_build_cache

JOB = {
    "apiVersion": "lateen.dev/v1alpha1",
    "kind": "LMTrainingJob",
    "metadata": {"name": "small"},
    "spec": {
        "model": {"seqLen": 32, "hiddenDim": 32, "numHeads": 2, "numLayers": 1},
        "data": {"tokenizer": "bytes"},
        "trainer": {"numTrainSteps": 100, "trainBatchSize": 8},
    },
}


class Job:
    """A job over the corpus, and its cache."""

    def __init__(self, folder: Path, corpus: Path):
        self.file, self.cache = folder / "job.yaml", folder / "cache"
        data = JOB["spec"]["data"] | {
            "trainUrls": [f"{corpus}/part-[1-9].txt"],
            "validationUrls": [f"{corpus}/part-0.txt"],
            "cacheDir": str(self.cache),
        }
        self.file.write_text(yaml.safe_dump({**JOB, "spec": {**JOB["spec"], "data": data}}))

    def data(self, command: str, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["data", command, str(self.file), *arguments])


@pytest.fixture
def job(tmp_path: Path, corpus: Path, layout, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setitem(open_or_build_cache.__kwdefaults__, "layout", layout)
    monkeypatch.setitem(find_cache.__kwdefaults__, "layout", layout)
    return Job(tmp_path, corpus)


@pytest.fixture
def layout() -> Layout:
    return Layout(chunk=64, shard=1024, part=4000)


def test_build_inspect_verify_and_ls_agree(job, corpus):
    built = job.data("build")
    assert built.exit_code == 0, built.output
    tokens = sum((corpus / f"part-{number}.txt").stat().st_size + 1 for number in range(1, 10))
    assert f": {tokens:,} tokens, 9 documents, 5 parts, 9 files" in built.output

    train, validation = json.loads(job.data("inspect", "-o", "json").output)
    assert (train["state"], train["tokens"], train["documents"], train["parts"]) == ("whole", tokens, 9, 5)
    assert train["sequences"] == (tokens - 1) // 32
    assert train["epochs"] == pytest.approx(800 / train["sequences"])
    assert validation["split"] == "validation" and "epochs" not in validation
    assert validation["firstSequence"] == (corpus / "part-0.txt").read_text()[:32]
    assert f"{tokens:,}" in job.data("inspect").output

    verified = job.data("verify")
    assert verified.exit_code == 0 and "5 parts read" in verified.output

    rows = {row["split"]: row for row in json.loads(job.data("ls", "-o", "json").output)}
    assert {split: (row["tokens"], row["used"]) for split, row in rows.items()} == {
        "train": (tokens, True),
        "validation": (validation["tokens"], True),
    }
    assert rows["train"]["bytes"] == 2 * tokens + 8 * 9


def test_a_cache_of_other_files_is_listed_as_not_used(job, corpus):
    job.data("build", "--split", "train")
    (corpus / "part-3.txt").write_text("changed")
    job.data("build", "--split", "train")
    assert sorted(row["used"] for row in json.loads(job.data("ls", "-o", "json").output)) == [False, True]
    assert "yes" in job.data("ls").output


def test_damaged_parts_are_named(job):
    job.data("build")
    (shard,) = job.cache.glob("train-*/data/00002/tokens/c/1")
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    verified = job.data("verify")
    assert verified.exit_code == 41
    assert "part 00002 of train: The cache of tokens is corrupt: " in verified.output
    assert "Error: 1 parts are damaged. Delete the caches' folders; they are built again." in verified.output
    assert verified.output.count("\npart ") <= 1


def test_a_cache_that_is_not_there_is_a_mistake_of_the_user(job):
    verified = job.data("verify")
    assert verified.exit_code == 40
    assert "holds no part of a cache. Build it: lateen data build." in verified.output
    assert job.data("ls").exit_code == 40
    (train, _) = json.loads(job.data("inspect", "-o", "json").output)
    assert train["state"] == "0 of 5 parts are there" and "firstSequence" not in train
