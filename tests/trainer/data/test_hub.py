"""Data sets of the hub, a fake one on loopback: which commit, which files, and what is said where there are none."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trainer.data.dataset_hub import blob_id, commit_of, serving

SCRIPT = Path(__file__).with_name("read_from_hub.py")


def lines(*texts: str) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


CARD = b"""---
license: mit
configs:
- config_name: en
  default: true
  data_files:
  - split: train
    path: en/train-*.jsonl
  - split: test
    path: en/test.jsonl
- config_name: de
  data_files: de/*.jsonl
---
# Words
"""
WORDS = {
    "README.md": CARD,
    "en/train-00000.jsonl": lines("one", "two"),
    "en/train-00001.jsonl": lines("three"),
    "en/test.jsonl": lines("four"),
    "de/a.jsonl": lines("eins"),
}
OLD = {"data/train.jsonl": lines("old")}
DELIMITED = {"train.csv": b'text\n"one, two"\n'}
SCRIPTED = {"README.md": b"# No card data", "scripted.py": b"raise SystemExit('the script was run')"}
REPOSITORIES = {
    "org/words": {"main": WORDS, "v1": OLD},
    "org/scripted": {"main": SCRIPTED},
    "org/delimited": {"main": DELIMITED},
    "org/card": {"main": {**OLD, "README.md": b"---\nconfigs: [\n---\n"}},
    "org/private": {"main": OLD},
    "org/gated": {"main": OLD},
}

COMMIT = commit_of(WORDS)[:12]
REMEDY = f"(looked at commit {COMMIT}). Correct the field, or name its files in spec.data.trainUrls (hf://datasets/…)."
MESSAGES = {
    "fr": (
        "UserError: spec.data.id is 'org/words', which has no configuration 'fr': expected one of en, de in "
        f"spec.data.name {REMEDY}"
    ),
    "dev": (f"UserError: spec.data.id is 'org/words', which has no split 'dev': expected one of train, test {REMEDY}"),
    "v9": (
        "UserError: spec.data.revision is 'v9', which the data set 'org/words' does not have: expected a branch, "
        "tag or commit. Correct it, or leave it out for main."
    ),
    "card": (
        "UserError: spec.data.id is 'org/card', which has a README.md whose first block is not YAML (while parsing a "
        "flow node expected the node content, but found '<stream end>' in \"<unicode string>\", line 1, column 11: "
        "configs: [ ^) (looked at commit COMMIT). Correct the field, or name its files in spec.data.trainUrls "
        "(hf://datasets/…)."
    ).replace("COMMIT", commit_of(REPOSITORIES["org/card"]["main"])[:12]),
    "none": (
        "UserError: spec.data.id is 'org/none': there is no such data set on the Hugging Face hub, or it is "
        "private: expected org/name. Correct it, or set HF_TOKEN (spec.compute.secrets)."
    ),
    "gated": (
        "UserError: spec.data.id is 'org/gated': access to it must be granted on the Hugging Face hub first. "
        "Accept its terms there and set HF_TOKEN (spec.compute.secrets)."
    ),
    "scripted": (
        "UserError: spec.data.id is 'org/scripted', whose files are made by a script, which is never run here, and "
        "the hub has no conversion of them to Parquet (branch refs/convert/parquet): expected files of data. "
        "Convert the data set, and name the files in spec.data.trainUrls."
    ),
    "delimited": (
        "UserError: spec.data.id is 'org/delimited', whose files are CSV, which is not read, and the hub has no "
        "conversion of them to Parquet (branch refs/convert/parquet): expected files of data. Convert the data set, "
        "and name the files in spec.data.trainUrls."
    ),
}


def read(cache_dir: Path, *specs: dict[str, Any], **environ: str) -> list[dict[str, Any]]:
    """What a process makes of each spec."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps({"cacheDir": str(cache_dir), "specs": specs})],
        env={**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", **environ},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """All that is asked of the hub, by one process: importing takes longer than reading."""
    specs = {
        "default": {"id": "org/words"},
        "test": {"id": "org/words", "split": "test"},
        "de": {"id": "org/words", "name": "de"},
        "v1": {"id": "org/words", "revision": "v1"},
        "commit": {"id": "org/words", "revision": commit_of(OLD)},
        "fr": {"id": "org/words", "name": "fr"},
        "dev": {"id": "org/words", "split": "dev"},
        "v9": {"id": "org/words", "revision": "v9"},
        "card": {"id": "org/card"},
        "none": {"id": "org/none"},
        "bad": {"id": "a/b/c"},
        "gated": {"id": "org/gated"},
        "private": {"id": "org/private"},
        "scripted": {"id": "org/scripted"},
        "delimited": {"id": "org/delimited"},
        "mixture": {
            "configs": {"en": {"id": "org/words"}, "de": {"id": "org/words", "name": "de"}},
            "train_weights": {"en": 0.5, "de": 0.5},
        },
    }
    specs |= {
        f"{name} of a mixture": {"configs": {"web": specs[name]}, "train_weights": {"web": 1}} for name in MESSAGES
    }
    folder = tmp_path_factory.mktemp("hub")
    with serving(REPOSITORIES) as hub:
        environ = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_TOKEN": "hf_good"}
        found = read(folder / "cache", *specs.values(), **environ)
    return dict(zip(specs, found, strict=True))


def test_sources_of_a_mixture_are_data_sets_by_id_and_name(answers):
    assert answers["mixture"] == {"en": ["one", "two", "three"], "de": ["eins"]}


@pytest.mark.parametrize("main", [SCRIPTED, DELIMITED], ids=["script", "csv"])
def test_of_a_script_and_of_csv_the_hubs_conversion_is_read(tmp_path, main):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    pq.write_table(pa.table({"text": ["converted"]}), stream)
    repositories = {
        "org/scripted": {"main": main, "refs/convert/parquet": {"default/train/0000.parquet": stream.getvalue()}}
    }
    with serving(repositories) as hub:
        (found,) = read(tmp_path, {"id": "org/scripted"}, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"))
    assert found["documents"] == ["converted"]


@pytest.mark.parametrize(
    ("asked", "documents"),
    [
        ("default", ["one", "two", "three"]),
        ("test", ["four"]),
        ("de", ["eins"]),
        ("v1", ["old"]),
        ("commit", ["old"]),
        ("private", ["old"]),
    ],
)
def test_the_files_of_the_split_are_read(answers, asked, documents):
    assert answers[asked]["documents"] == documents


def test_the_ledger_names_the_commit(answers):
    root = f"hf://datasets/org/words@{commit_of(WORDS)}/en"
    assert answers["default"]["files"] == [f"{root}/train-00000.jsonl", f"{root}/train-00001.jsonl"]


def test_a_tag_and_its_commit_are_one_cache(answers):
    assert answers["v1"]["cache"] == answers["commit"]["cache"] != answers["default"]["cache"]


@pytest.mark.parametrize("asked", MESSAGES)
def test_what_is_not_there_is_named(answers, asked):
    assert answers[asked]["error"] == MESSAGES[asked]


@pytest.mark.parametrize("asked", MESSAGES)
def test_of_a_source_of_a_mixture_its_own_fields_are_named(answers, asked):
    of_source = answers[f"{asked} of a mixture"]["error"]
    assert of_source == MESSAGES[asked].replace("spec.data.", "spec.data.configs.web.")


def test_a_name_that_is_none_is_refused(answers):
    assert answers["bad"]["error"].startswith("UserError: spec.data.id is 'a/b/c'")


def test_offline_the_hubs_cache_is_read_and_gives_the_same_cache(answers, tmp_path):
    cached = tmp_path / "hub" / "datasets--org--words"
    (cached / "blobs").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit_of(WORDS))
    for name, content in WORDS.items():
        (cached / "blobs" / blob_id(content)).write_bytes(content)
        link = cached / "snapshots" / commit_of(WORDS) / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cached / "blobs" / blob_id(content))
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    found, missing = read(tmp_path / "cache", {"id": "org/words"}, {"id": "org/other"}, **offline)
    assert found == answers["default"]
    assert missing["error"] == (
        "UserError: spec.data.id is 'org/other': revision 'main' is not in the hub's cache on this machine, and "
        "HF_HUB_OFFLINE is set. Download the data set first, or unset it."
    )
