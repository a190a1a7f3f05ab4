"""Sources that need a password or a signature: the cache and the messages hold neither."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from lateen_api.spec import DataSpec
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.source import SourceFile, digest
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.errors import UserError

TEXT = b"Two ships sail.\n" * 50


@pytest.fixture
def server() -> Iterator[str]:
    """`host:port` of a server that knows a.txt, and wants a signature."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, *, body: bool) -> None:
            known = self.path.startswith("/a.txt?sig=")
            self.send_response(200 if known else 404)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(TEXT) if known else 0))
            self.end_headers()
            if known and body:
                self.wfile.write(TEXT)

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def build(url: str, cache: Path):
    return open_or_build_cache(
        DataSpec(train_urls=[url], tokenizer="bytes"),
        "train",
        ByteTokenizer(),
        str(cache),
        is_builder=True,
        progress=lambda detail: None,
    )


def test_the_ledger_holds_no_password_and_a_renewed_signature_finds_the_cache(server: str, tmp_path: Path):
    pytest.importorskip("aiohttp")
    first = build(f"http://user:password@{server}/a.txt?sig=first", tmp_path)
    second = build(f"http://user:password@{server}/a.txt?sig=second", tmp_path)
    assert second.url == first.url
    [folder] = tmp_path.iterdir()
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not any(secret in written for secret in (b"password", b"first", b"second"))
    assert json.loads((folder / "ledger.json").read_bytes())["body"]["files"] == [
        {"url": f"http://***@{server}/a.txt?sig=***", "size": len(TEXT), "stamp": '"one"'}
    ]


def test_a_missing_file_is_named_without_its_signature(server: str, tmp_path: Path):
    pytest.importorskip("aiohttp")
    with pytest.raises(UserError) as caught:
        build(f"http://user:password@{server}/b.txt?sig=abc", tmp_path)
    assert f"'http://***@{server}/b.txt?sig=***'" in str(caught.value)
    assert "password" not in str(caught.value)
    assert "abc" not in str(caught.value)


def source(query: str, stamp: str) -> SourceFile:
    url = f"https://host/a.jsonl?{query}"
    return SourceFile(url, url, 10, stamp)


def test_files_that_differ_in_their_query_are_different_files():
    assert digest([source("id=1&sig=x", "e")]) != digest([source("id=2&sig=x", "e")])


def test_files_of_other_contents_are_different_files():
    assert digest([source("sig=x", "e")]) != digest([source("sig=x", "f")])


def test_without_a_stamp_the_signature_tells_files_apart():
    assert digest([source("sig=x", "")]) != digest([source("sig=y", "")])


def test_files_of_other_kinds_are_different_files_whatever_their_query_holds():
    """Where a query has a slash, the name does not begin behind it."""
    lines, text = (SourceFile(f"https://host/a.{kind}?path=x/y", "", 10, "e") for kind in ("jsonl", "txt"))
    assert digest([lines]) != digest([text])


def test_a_renewed_signature_with_a_slash_finds_the_cache():
    assert digest([source("sig=ab/cd", "e")]) == digest([source("sig=ef/gh", "e")])
