"""Finding a split's cache: who builds, who waits, and where a field says something that cannot be."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import fsspec
import numpy as np
import pytest
import tensorstore as ts
from lateen_api.spec import DataSpec
from lateen_trainer import storage
from lateen_trainer.data.build_progress import BuildProgress
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.errors import DataError, LostPeerError, UserError


def prepare(
    spec: DataSpec,
    cache_dir: str,
    *,
    split: Literal["train", "validation"] = "train",
    is_builder: bool = True,
    progress=lambda _: None,
    **more,
):
    return open_or_build_cache(
        spec, split, ByteTokenizer(), cache_dir, is_builder=is_builder, progress=progress, **more
    )


@pytest.fixture
def spec(corpus: Path) -> DataSpec:
    return DataSpec(
        tokenizer="bytes", train_urls=[f"{corpus}/part-[1-9].txt"], validation_urls=[f"{corpus}/part-0.txt"]
    )


def test_splits_have_caches_of_their_own(spec, corpus, tmp_path, layout):
    train = prepare(spec, str(tmp_path / "cache"), layout=layout)
    validation = prepare(spec, str(tmp_path / "cache"), split="validation", layout=layout)
    assert len(validation) == (corpus / "part-0.txt").stat().st_size + 1
    assert len(train) == sum((corpus / f"part-{number}.txt").stat().st_size + 1 for number in range(1, 10))
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir()) == ["train", "validation"]


def test_a_cache_in_memory_holds_the_same_as_one_on_disk(spec, tmp_path, layout):
    context = ts.Context()
    stored = prepare(spec, "memory://cache", layout=layout, context=context)
    local = prepare(spec, str(tmp_path / "cache"), layout=layout)
    assert stored.ledger == local.ledger
    stored.verify()
    starts = np.random.default_rng(0).integers(0, len(local) - 200, 50)
    assert np.array_equal(stored.rows(starts, 200), local.rows(starts, 200))
    again = prepare(spec, "memory://cache", is_builder=False, timeout=0, layout=layout, context=context)
    assert again.ledger == stored.ledger


def test_the_tokens_do_not_depend_on_the_layout(spec, tmp_path, layout):
    small = prepare(spec, str(tmp_path / "small"), layout=layout)
    large = prepare(spec, str(tmp_path / "large"))
    assert np.array_equal(next(small.blocks()), next(large.blocks()))


def test_the_builder_reports_progress(spec, tmp_path, layout):
    reports: list[BuildProgress] = []
    cache = prepare(spec, str(tmp_path / "cache"), progress=reports.append, layout=layout)
    assert str(reports[-1]).startswith(f"9 of 9 files tokenized, {len(cache):,} tokens")
    assert (reports[-1].parts, reports[-1].of_parts, reports[-1].documents) == (1, 1, 9)


def test_others_wait_for_the_builder(spec, tmp_path, layout):
    waiting: list[str] = []
    caches: list[int] = []

    def wait() -> None:
        cache = prepare(
            spec,
            str(tmp_path / "cache"),
            is_builder=False,
            progress=lambda now: waiting.append(str(now)),
            timeout=30,
            layout=layout,
        )
        caches.append(len(cache))

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    # Slow enough for the waiting to be seen.
    cache = prepare(spec, str(tmp_path / "cache"), progress=lambda _: time.sleep(0.1), layout=layout)
    for thread in threads:
        thread.join()
    assert caches == [len(cache), len(cache)]
    assert "0 of 9 files tokenized, 0 tokens" in waiting


def test_waiting_for_a_builder_that_works_elsewhere_ends(spec, corpus, tmp_path, layout):
    with pytest.raises(UserError) as raised:
        prepare(spec, str(tmp_path / "cache"), is_builder=False, timeout=0.2, layout=layout)
    text = str(raised.value)
    assert text.startswith(f"spec.data.cacheDir: no process has begun to build {tmp_path}/cache/train-")
    size = sum((corpus / f"part-{number}.txt").stat().st_size for number in range(1, 10))
    assert "within 0.2 s, while this process waits for it. Expected a folder that all hosts share" in text
    assert f"(this one sees 9 files, {size:,} bytes)" in text


def test_waiting_for_a_builder_that_has_stopped_ends(spec, tmp_path, layout):
    class StopError(Exception):
        pass

    def stop(now: BuildProgress) -> None:
        if now.files == 8:
            raise StopError

    small = replace(layout, part=1500)  # one file each
    with pytest.raises(StopError):
        prepare(spec, str(tmp_path / "cache"), progress=stop, layout=small)
    with pytest.raises(LostPeerError) as raised:
        prepare(spec, str(tmp_path / "cache"), is_builder=False, timeout=0.2, layout=small)
    assert str(raised.value).startswith(f"The builders of {tmp_path}/cache/train-")
    assert "have made no progress for 0.2 s (7 of its parts are whole)" in str(raised.value)


def test_tokens_that_others_have_made_may_be_read_only(spec, layout, monkeypatch):
    """In an object store, of which memory is the stand-in."""
    context = ts.Context()
    made = prepare(spec, "memory://shared", layout=layout, context=context)

    def refuse(url: str, *, field: str) -> None:
        raise UserError(f"{field} is {url!r}: access is denied.")

    monkeypatch.setattr(storage, "check_writable", refuse)
    assert prepare(spec, "memory://shared", layout=layout, context=context).ledger == made.ledger
    with pytest.raises(UserError, match=r"^spec\.data\.cacheDir is 'memory://own': access is denied\."):
        prepare(spec, "memory://own", layout=layout, context=context)


def test_a_ledger_that_is_damaged_is_named(spec, tmp_path, layout):
    cache = prepare(spec, str(tmp_path / "cache"), layout=layout)
    path = Path(cache.url, "ledger.json")
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError) as raised:
        prepare(spec, str(tmp_path / "cache"), layout=layout)
    assert str(raised.value).startswith(f"{path} is no ledger of a cache: ")
    assert str(raised.value).endswith("Delete the cache's folder; it is built again.")


def test_a_split_without_urls_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^spec\.data\.validationUrls is \[\]: expected at least one path or URL"):
        prepare(DataSpec(tokenizer="bytes", train_urls=["a.txt"]), str(tmp_path), split="validation")


def test_a_cache_dir_of_another_scheme_is_refused(spec):
    with pytest.raises(UserError, match=r"^spec\.data\.cacheDir is 's4://bucket/cache': "):
        prepare(spec, "s4://bucket/cache")


@pytest.fixture
def locked_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    return folder


def test_a_cache_dir_that_may_not_be_written_is_named_with_the_user(locked_folder, layout, nobody):
    fsspec.filesystem("memory").pipe("/prepare/a.txt", b"text")
    spec = DataSpec(tokenizer="bytes", train_urls=["memory://prepare/a.txt"])
    with pytest.raises(UserError) as raised:
        prepare(spec, str(locked_folder), layout=layout)
    assert str(raised.value).startswith(f"spec.data.cacheDir is '{locked_folder}")
    assert f"user {nobody} may not read or write there. Change the permissions of the file and its folders" in str(
        raised.value
    )


def test_a_cache_dir_below_a_file_is_refused(spec, corpus, layout):
    with pytest.raises(UserError) as raised:
        prepare(spec, str(corpus / "part-0.txt"), layout=layout)
    assert str(raised.value).startswith(f"spec.data.cacheDir is '{corpus}/part-0.txt")
    assert "a part of it is a file: expected a folder." in str(raised.value)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: None, "NOT_FOUND: "),
        (lambda content: content.replace(b"chunk_grid", b"chunk_grid2"), "FAILED_PRECONDITION: "),
        (lambda content: content[: len(content) // 2], "DATA_LOSS: "),
    ],
)
def test_a_remote_cache_whose_array_is_damaged_is_named(spec, layout, damage, says):
    context = ts.Context()
    url = prepare(spec, "memory://damaged", layout=layout, context=context).url
    store = ts.KvStore.open({"driver": "memory", "path": f"{url.removeprefix('memory://')}/"}, context=context).result()
    metadata = "data/00000/tokens/zarr.json"
    store.write(metadata, damage(store.read(metadata).result().value)).result()
    with pytest.raises(DataError) as raised:
        prepare(spec, "memory://damaged", layout=layout, context=context).rows(np.array([0]), 5)
    assert str(raised.value).startswith(f"The cache of tokens is corrupt: {url}/data/00000/tokens: {says}")
    assert str(raised.value).endswith(
        "Delete the cache's folder; it is built again, with the same tokens, at the next start."
    )


@pytest.mark.parametrize(("field", "value"), [("tokens", "many"), ("tokens", 7), ("dtype", "uint32"), ("digest", "00")])
def test_a_ledger_of_other_values_is_named(spec, tmp_path, layout, field, value):
    path = Path(prepare(spec, str(tmp_path / "cache"), layout=layout).url, "ledger.json")
    ledger = json.loads(path.read_text())
    path.write_text(json.dumps({**ledger, "body": {**ledger["body"], field: value}}))
    with pytest.raises(DataError) as raised:
        prepare(spec, str(tmp_path / "cache"), layout=layout)
    says = "ledger.json does not have the digest it states"
    assert str(raised.value) == f"{path} is no ledger of a cache: {says}. Delete the cache's folder; it is built again."
