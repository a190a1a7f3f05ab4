"""Files that hold more than text: each kind gives the same documents as JSON lines of them."""

import gzip
import io
import json
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from lateen_api.spec import DataSpec
from lateen_trainer.data import build as building
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer
from trainer.data.transcoding import TranscodingFileSystem

TEXTS = [f"document {number} — with ünïcode {'and length ' * (number % 5)}" for number in range(300)]
EOS = ByteTokenizer.eos_id


def tokens(folder: Path, *urls: str, layout: Layout | None = None, progress=lambda _: None, **fields):
    """All tokens of a cache of the files, and its ledger."""
    cache = open_or_build_cache(
        DataSpec(tokenizer="bytes", train_urls=list(urls), **fields), "train", ByteTokenizer(), str(folder / "cache"),
        is_builder=True, progress=progress, layout=layout or Layout(),
    )  # fmt: skip
    cache.verify()
    return np.concatenate(list(cache.blocks())).tolist(), cache.ledger


def expected(texts: list[str]) -> list[int]:
    return [token for text in texts for token in [*text.encode(), EOS]]


def lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def table(kind: str, texts: list[str]) -> bytes:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    made = pa.table({"id": list(range(len(texts))), "text": texts, "tags": [["x"]] * len(texts)})
    if kind == "dictionary":
        made = made.set_column(1, "text", made["text"].dictionary_encode())
    if kind == "large":
        made = made.set_column(1, "text", made["text"].cast(pa.large_string()))
    stream = io.BytesIO()
    if kind in ("file", "stream", "compressed"):
        make = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        options = pa.ipc.IpcWriteOptions(compression="zstd" if kind == "compressed" else None)
        with make(stream, made.schema, options=options) as writer:
            writer.write_table(made, max_chunksize=64)
    else:
        pq.write_table(made, stream, row_group_size=64, compression="zstd")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.parquet", "plain"),
        ("a.parquet", "dictionary"),
        ("a.parquet", "large"),
        ("a.arrow", "file"),
        ("a.arrow", "stream"),
        ("a.feather", "compressed"),
        ("a.parquet.gz", "plain"),
    ],
)
def test_a_column_of_text_gives_the_tokens_of_json_lines(name, kind, tmp_path):
    content = table(kind, TEXTS)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found, ledger = tokens(tmp_path, f"{tmp_path}/{name}")
    assert found == expected(TEXTS)
    assert ledger.documents == len(TEXTS)


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_members_of_an_archive_are_files_in_the_order_of_their_names(tmp_path, caplog):
    members = {
        "b/z.jsonl": lines(["three"]),
        "a.txt": b"one",
        "__MACOSX/a.txt": b"no",
        "b/c.jsonl.gz": gzip.compress(lines(["two"])),
    }
    (tmp_path / "a.zip").write_bytes(zipped(members))
    assert tokens(tmp_path, f"{tmp_path}/a.zip")[0] == expected(["one", "two", "three"])
    assert f"{tmp_path}/a.zip: 1 hidden members are not read" in caplog.messages


@pytest.mark.parametrize("chunk", [3, 1 << 20])
@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("name", ["a.npy", "a.npy.gz", "a.bin"])
def test_tokens_that_exist_are_taken_as_they_are(name, ends, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr("lateen_trainer.data.token_files._IDS", chunk)
    ids = [EOS, *b"first", EOS, EOS, *b"a longer second", *([EOS] if ends else [])]
    if name == "a.bin":
        content = np.array(ids, "<u2").tobytes()
    else:
        stream = io.BytesIO()
        np.save(stream, np.array(ids, np.int64))
        content = gzip.compress(stream.getvalue()) if name.endswith(".gz") else stream.getvalue()
    (tmp_path / name).write_bytes(content)
    (tmp_path / "b.txt").write_text("text")
    found, ledger = tokens(tmp_path, f"{tmp_path}/a*", f"{tmp_path}/b.txt", dtype="uint16")
    assert found == [*ids, *([] if ends else [EOS]), *expected(["text"])]
    assert ledger.documents == 5


BAD = [b'{"text": 1}\n', b"{\n", b"\xff\n"]


def write_bad_files(folder: Path) -> list[str]:
    """Four files of 40 good documents, the second and third with bad ones among them; all good texts, in order."""
    texts = []
    for number in range(4):
        own = [f"file {number} document {index}" for index in range(40)]
        rows = lines(own).splitlines(keepends=True)
        if number in (1, 2):
            rows[5:5], rows[20:20] = BAD, BAD[:number]
        (folder / f"{number}.jsonl").write_bytes(b"".join(rows))
        texts += own
    return texts


def test_bad_documents_are_skipped_counted_and_told_again(tmp_path, caplog):
    texts = write_bad_files(tmp_path)
    reports: list[str] = []
    found, ledger = tokens(tmp_path, f"{tmp_path}/*.jsonl", on_bad_document="skip", progress=reports.append)
    assert found == expected(texts)
    assert ", 9 bad documents skipped" in str(reports[-1])
    first = (
        f"{tmp_path}/1.jsonl, line 6, holds a int under 'text': expected the text there. Its fields are ['text']; name "
        "the right one in spec.data.textKey."
    )
    assert [(file["url"], file["documents"], file["places"]) for file in ledger.skipped] == [
        (f"{tmp_path}/1.jsonl", 4, ["line 6", "line 7", "line 8", "line 21"]),
        (f"{tmp_path}/2.jsonl", 5, ["line 6", "line 7", "line 8", "line 21", "line 22"]),
    ]
    told = f"{tmp_path}/1.jsonl: 4 bad documents skipped (line 6, line 7, line 8, line 21). The first: {first}"
    assert told in caplog.messages
    caplog.clear()
    tokens(tmp_path, f"{tmp_path}/*.jsonl", on_bad_document="skip", progress=reports.append)
    assert told in caplog.messages


def test_a_build_that_goes_on_knows_what_was_skipped_before(tmp_path, monkeypatch):
    write_bad_files(tmp_path)
    monkeypatch.setattr(building, "_BATCH", 100)
    layout = Layout(chunk=64, shard=256)
    whole, ledger = tokens(tmp_path / "whole", f"{tmp_path}/*.jsonl", layout=layout, on_bad_document="skip")

    class StopError(Exception):
        pass

    for kill_at in (5, 40, 70, 110, 150):
        reports = iter(range(kill_at))

        def stop_then(_: str, reports=reports) -> None:
            if next(reports, None) is None:
                raise StopError

        folder = tmp_path / str(kill_at)
        with pytest.raises(StopError):
            tokens(folder, f"{tmp_path}/*.jsonl", layout=layout, progress=stop_then, on_bad_document="skip")
        again, after = tokens(folder, f"{tmp_path}/*.jsonl", layout=layout, on_bad_document="skip")
        assert (again, after) == (whole, ledger)


def test_a_cache_that_lacks_documents_is_not_one_of_a_job_that_stops_at_them(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(["x"]))
    caches = {
        open_or_build_cache(
            DataSpec(tokenizer="bytes", train_urls=[f"{tmp_path}/a.jsonl"], on_bad_document=what),
            "train", ByteTokenizer(), str(tmp_path / "cache"), is_builder=True, progress=lambda _: None,
        ).url
        for what in ("stop", "skip")
    }  # fmt: skip
    assert len(caches) == 2


@pytest.fixture
def compressing_server() -> Callable[[str, bytes], str]:
    """A web server that sends every file with Content-Encoding: gzip, and gives no ranges."""
    contents: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = gzip.compress(contents[self.path])
            self.send_response(200)
            for name, value in (("Content-Encoding", "gzip"), ("Content-Length", str(len(body))), ("ETag", '"1"')):
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def add(name: str, content: bytes) -> str:
        contents[f"/{name}"] = content
        return f"http://127.0.0.1:{server.server_port}/{name}"

    yield add
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_a_bucket_decompresses_is_read_past_the_size_that_it_states(name, tmp_path, monkeypatch):
    fsspec.register_implementation("transcoding", "trainer.data.transcoding.TranscodingFileSystem", clobber=True)
    monkeypatch.setitem(TranscodingFileSystem.contents, f"bucket/{name}", lines(TEXTS))
    assert tokens(tmp_path, f"transcoding://bucket/{name}")[0] == expected(TEXTS)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.zip", "a.parquet"])
def test_what_a_server_compresses_on_the_way_is_read_whole(name, tmp_path, compressing_server):
    kinds = {"a.zip": zipped({"a.jsonl": lines(TEXTS)}) if name == "a.zip" else b""}
    content = table("plain", TEXTS) if name == "a.parquet" else kinds.get(name) or lines(TEXTS)
    assert tokens(tmp_path, compressing_server(name, content))[0] == expected(TEXTS)
