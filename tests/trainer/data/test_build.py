"""Building a cache: what is in it, and that being killed, disturbed or out of room leaves nothing wrong behind."""

import gzip
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from lateen_api.spec import DataSpec
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.errors import DataError, UserError

BUILDER = Path(__file__).with_name("builder.py")


def build(urls: list[str], cache_dir: Path | str, layout: Layout, tokenizer: str = "bytes") -> TokenCache:
    return open_or_build_cache(
        DataSpec(tokenizer=tokenizer, train_urls=urls),
        "train",
        load_tokenizer(tokenizer),
        str(cache_dir),
        is_builder=True,
        progress=lambda _: None,
        layout=layout,
    )


def tokens_of(cache: TokenCache) -> np.ndarray:
    return np.concatenate(list(cache.blocks(777)))


def test_documents_stand_in_order_with_end_of_text_behind_each(tmp_path, layout):
    (tmp_path / "b.txt").write_bytes(b"second\xff")
    (tmp_path / "a.txt").write_bytes(b"first")
    (tmp_path / "c.jsonl").write_text('{"text": "third"}\n{"text": ""}\n{"text": "4"}\n')
    cache = build([f"{tmp_path}/*.*"], tmp_path / "cache", layout)
    assert tokens_of(cache).tolist() == [*b"first", 256, *b"second\xff", 256, *b"third", 256, *b"4", 256]
    assert (len(cache), cache.ledger.documents) == (22, 4)


def test_hugging_face_tokens_are_those_of_each_document_alone(corpus, bpe_folder, tmp_path, layout):
    cache = build([f"{corpus}/*.txt"], tmp_path / "cache", layout, tokenizer=str(bpe_folder))
    tokenizer = load_tokenizer(str(bpe_folder))
    texts = [path.read_text() for path in sorted(corpus.iterdir())]
    expected = [token for tokens in tokenizer.encode_batch(texts) for token in [*tokens.tolist(), tokenizer.eos_id]]
    assert tokens_of(cache).tolist() == expected


def test_a_vocabulary_beyond_16_bits_is_stored_in_32(corpus, tmp_path, layout, monkeypatch):
    tokenizer = load_tokenizer("bytes")
    monkeypatch.setattr(type(tokenizer), "vocab_size", 65536)
    monkeypatch.setattr(type(tokenizer), "eos_id", 65535)
    cache = build([f"{corpus}/*.txt"], tmp_path / "cache", layout)
    assert cache.ledger.dtype == "uint32"
    assert tokens_of(cache)[-1] == 65535


def test_the_array_can_be_opened_as_zarr3(cache, corpus, layout):
    array = ts.open({"driver": "zarr3", "kvstore": f"file://{cache.url}/data/00000/tokens/"}).result()
    content = b"".join(path.read_bytes() + b"\n" for path in sorted(corpus.iterdir()))
    assert array.shape == (len(content),)
    assert array.dtype == ts.uint16
    text = array.read().result()
    assert bytes(np.where(text == 256, ord("\n"), text).astype(np.uint8)) == content
    assert len(list(Path(cache.url, "data/00000/tokens/c").iterdir())) == -(-len(content) // layout.shard)


def test_the_ledger_says_what_the_cache_is_of(cache, corpus):
    content = json.loads(Path(cache.url, "ledger.json").read_text())["body"]
    paths = sorted(corpus.iterdir())
    assert content["tokenizer"] == {"name": "bytes", "fingerprint": "bytes", "vocab_size": 257, "eos_id": 256}
    assert content["files"] == [
        {"url": str(path), "size": path.stat().st_size, "stamp": str(path.stat().st_mtime_ns)} for path in paths
    ]
    assert content["tokens"] == sum(path.stat().st_size + 1 for path in paths)
    assert content["documents"] == 10
    assert Path(cache.url).name == f"train-{content['fingerprint'][:16]}"


def test_a_whole_cache_is_opened_and_not_built_again(cache, corpus, tmp_path, layout):
    before = {path: path.stat().st_mtime_ns for path in Path(cache.url).rglob("*")}
    again = build([f"{corpus}/*.txt"], tmp_path / "cache", layout)
    assert again.ledger == cache.ledger
    assert {path: path.stat().st_mtime_ns for path in Path(cache.url).rglob("*")} == before


def test_other_files_or_another_tokenizer_make_another_cache(cache, corpus, bpe_folder, tmp_path, layout):
    (corpus / "part-0.txt").write_text("changed\n")
    changed = build([f"{corpus}/*.txt"], tmp_path / "cache", layout)
    other = build([f"{corpus}/*.txt"], tmp_path / "cache", layout, tokenizer=str(bpe_folder))
    assert len({cache.url, changed.url, other.url}) == 3
    assert bytes(tokens_of(changed)[:8].astype(np.uint8)) == b"changed\n"
    cache.verify()


def test_a_moved_corpus_keeps_its_cache(cache, corpus, tmp_path, layout):
    moved = corpus.rename(tmp_path / "elsewhere")
    assert build([f"{moved}/*.txt"], tmp_path / "cache", layout).url == cache.url


def test_files_without_text(tmp_path, layout):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError) as raised:
        build([f"{tmp_path}/*.txt"], tmp_path / "cache", layout)
    assert str(raised.value) == (
        "spec.data.trainUrls: its 1 files hold no text (0 bytes). Expected at least one document that is not empty."
    )


def test_a_broken_file_ends_the_build_and_mending_it_lets_it_go_on(tmp_path, layout):
    whole = gzip.compress(b"second" * 500)
    (tmp_path / "a.txt").write_bytes(b"first" * 500)
    (tmp_path / "b.txt.gz").write_bytes(whole[:-4])
    with pytest.raises(DataError, match=r"b\.txt\.gz cannot be decompressed"):
        build([f"{tmp_path}/*.txt*"], tmp_path / "cache", layout)
    assert not list(tmp_path.rglob("ledger.json"))
    (tmp_path / "b.txt.gz").write_bytes(whole)
    assert len(build([f"{tmp_path}/*.txt*"], tmp_path / "cache", layout)) == 2500 + 1 + 3000 + 1


def start(urls: list[str], cache_dir: Path, tokenizer: str, die: tuple[str, int] | None = None) -> subprocess.Popen:
    arguments = {"urls": urls, "cache_dir": str(cache_dir), "tokenizer": tokenizer, "die": die}
    return subprocess.Popen(
        [sys.executable, str(BUILDER), json.dumps(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen) -> dict[str, object]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(output)


DEATHS = {
    "before the first shard": ("build._tokenized", 0),
    "behind the first shard, before the state": ("writer.chained", 0),
    "behind a later shard, before the state": ("writer.chained", 5),
    "before the length is known": ("writer.write_metadata", 0),
    "before the record": ("writer.Record", 0),
    "before the ledger": ("builder.Builder._finish", 0),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_build_that_was_killed_is_completed_with_the_same_tokens(corpus, tmp_path, layout, death):
    urls = [f"{corpus}/*.txt"]
    whole = build(urls, tmp_path / "whole", layout)
    process = start(urls, tmp_path / "killed", "bytes", DEATHS[death])
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not list((tmp_path / "killed").rglob("ledger.json"))
    completed = build(urls, tmp_path / "killed", layout)
    assert completed.ledger == whole.ledger
    assert np.array_equal(tokens_of(completed), tokens_of(whole))
    completed.verify()


def test_a_build_that_is_killed_again_and_again_still_ends(corpus, bpe_folder, tmp_path, layout):
    """Each start writes one shard more than the last, and then dies."""
    urls = [f"{corpus}/*.txt"]
    whole = build(urls, tmp_path / "whole", layout, tokenizer=str(bpe_folder))
    shards = -(-len(whole) // layout.shard)
    assert shards >= 4
    for _ in range(shards - 1):
        process = start(urls, tmp_path / "killed", str(bpe_folder), ("writer.chained", 1))
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    completed = build(urls, tmp_path / "killed", layout, tokenizer=str(bpe_folder))
    assert completed.ledger == whole.ledger
    assert np.array_equal(tokens_of(completed), tokens_of(whole))


@pytest.mark.slow
def test_a_kill_at_any_moment_is_mended(tmp_path, layout):
    """SIGKILL from outside at moments spread over the build: buys those that nobody thought of."""
    urls = ["python-stdlib://{abc,argparse}.py"]
    whole = build(urls, tmp_path / "whole", layout)
    kills = 0
    for number in range(9):
        process = start(urls, tmp_path / f"killed-{number % 3}", "bytes")
        assert process.stderr
        process.stderr.readline()  # the first file is tokenized
        time.sleep(0.03 * number)
        process.kill()
        process.communicate(timeout=60)
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 3
    for number in range(3):
        completed = build(urls, tmp_path / f"killed-{number}", layout)
        assert completed.ledger == whole.ledger
        completed.verify()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"piece":', '"piece":1'),
        lambda text: text.replace('"source":', '"source":9'),
        lambda text: '{"shards": "x"}',
        lambda text: "[]",
    ],
    ids=["cut off", "another piece", "another source", "of another version", "a list"],
)
def test_a_state_that_is_damaged_starts_the_build_anew(corpus, tmp_path, layout, damage):
    urls = [f"{corpus}/*.txt"]
    start(urls, tmp_path / "cache", "bytes", ("writer.chained", 5)).communicate(timeout=60)
    (state,) = (tmp_path / "cache").rglob("building/*.json")
    state.write_text(damage(state.read_text()))
    completed = build(urls, tmp_path / "cache", layout)
    completed.verify()
    assert completed.ledger == build(urls, tmp_path / "whole", layout).ledger


def test_builders_that_start_at_once_do_not_disturb_each_other(corpus, bpe_folder, tmp_path):
    urls = [f"{corpus}/*.txt"]
    processes = [start(urls, tmp_path / "cache", str(bpe_folder)) for _ in range(3)]
    first, second, third = (result(process) for process in processes)
    assert first == second == third


@pytest.fixture
def small_disk(tmp_path: Path):
    """A folder on a disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a mapped cache keeps it busy


def test_a_full_disk_is_named_and_room_lets_the_build_go_on(tmp_path, small_disk):
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text("x" * 64_000)
    urls, layout = [f"{tmp_path}/*.txt"], Layout(chunk=1024, shard=16384)
    with pytest.raises(UserError) as raised:
        build(urls, small_disk, layout)
    text = str(raised.value)
    (folder,) = small_disk.iterdir()
    assert text.startswith(f"spec.data.cacheDir is '{folder}': the disk is full: about ")
    # Of 4 × 64,001 tokens of 2 bytes, the disk takes at most 7 shards of 32 KiB.
    numbers = re.search(r"about ([\d,]+) bytes more are needed, ([\d,]+) are free", text)
    assert numbers
    needed, free = (int(number.replace(",", "")) for number in numbers.groups())
    assert 256_000 < needed <= 512_008
    assert free < 40_000
    assert not (folder / "ledger.json").exists()
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    completed = build(urls, small_disk, layout)
    completed.verify()
    assert completed.ledger == build(urls, tmp_path / "whole", layout).ledger
