"""Which files the patterns of a job name."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from lateen_trainer.data.urls import expand_urls
from lateen_trainer.errors import UserError
from lateen_trainer.storage import StoreError

FIELD = "spec.data.trainUrls"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a few files."""
    for name in ("a1.txt", "a2.txt", "b.txt", "sub/c.txt", "sub/deep/d.txt", ".hidden.txt", "sub/.git/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path, *patterns: str) -> list[str]:
    return [os.path.relpath(file.url, folder) for file in expand_urls(patterns, field=FIELD)]


def message(*patterns: str) -> str:
    with pytest.raises(UserError) as raised:
        expand_urls(patterns, field=FIELD)
    return str(raised.value)


def test_star_stays_within_its_folder(folder):
    assert names(folder, "*.txt") == ["a1.txt", "a2.txt", "b.txt"]


def test_double_star_goes_below_and_hidden_files_are_left_out(folder):
    assert names(folder, "**/*.txt") == ["a1.txt", "a2.txt", "b.txt", "sub/c.txt", "sub/deep/d.txt"]


def test_a_hidden_file_is_read_where_the_pattern_spells_its_dot_out(folder):
    assert names(folder, "sub/.git/*.txt") == ["sub/.git/e.txt"]


def test_question_mark_and_brackets_stand_for_one_character(folder):
    assert names(folder, "?1.txt", "[bc].txt") == ["a1.txt", "b.txt"]


def test_braces_count_and_list(folder):
    assert names(folder, "a{1..2}.txt", "{b,sub/c}.txt") == ["a1.txt", "a2.txt", "b.txt", "sub/c.txt"]


def test_a_file_named_by_several_patterns_comes_once(folder):
    assert names(folder, "a1.txt", "a*.txt", f"file://{folder}/a1.txt") == ["a1.txt", "a2.txt"]


def test_the_order_of_patterns_does_not_matter(folder):
    assert names(folder, "b.txt", "a1.txt") == names(folder, "a1.txt", "b.txt") == ["a1.txt", "b.txt"]


@pytest.mark.parametrize(
    ("literal", "other"),
    [
        ("d[1]/x.jsonl", "d1/x.jsonl"),
        ("x[ab].txt", "xa.txt"),
        ("x?.txt", "xy.txt"),
        ("x*.txt", "xy.txt"),
        ("x{a,b}.txt", "xa.txt"),
    ],
)
def test_a_file_of_the_very_name_wins_over_the_pattern(tmp_path, monkeypatch, literal, other):
    monkeypatch.chdir(tmp_path)
    for name in (literal, other):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    assert names(tmp_path, literal) == [literal]
    assert names(tmp_path, f"file://{tmp_path}/{literal}" if "{" not in literal else literal) == [literal]
    assert names(tmp_path, "**/x*", f"!{literal}") == [other]


def test_a_folder_of_the_very_name_wins_over_the_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("d[1]/x.jsonl", "d1/x.jsonl"):
        Path(name).parent.mkdir()
        Path(name).write_text(name)
    assert names(tmp_path, "d[1]/*.jsonl") == ["d[1]/x.jsonl"]
    assert names(tmp_path, "d[0-9]/*.jsonl") == ["d1/x.jsonl"]


def test_a_file_of_the_very_name_wins_in_a_bucket():
    bucket = fsspec.filesystem("memory")
    for name in ("/literal/d[1]/x.jsonl", "/literal/d1/x.jsonl"):
        bucket.pipe(name, b"x")
    (file,) = expand_urls(["memory://literal/d[1]/x.jsonl"], field=FIELD)
    assert file.url == "memory:///literal/d[1]/x.jsonl"


def test_what_matches_nothing_says_which_characters_are_a_pattern(folder):
    assert "`?` and `[` are taken for a pattern, since no file has this very name." in message("a[9]?.txt")
    assert "`*` is taken for a pattern, since no file has this very name." in message("*.jsonl")


@pytest.mark.parametrize("patterns", [("**/*.txt", "!sub/**"), ("!sub/**", "**/*.txt")])
def test_an_exclusion_holds_wherever_it_stands(folder, patterns):
    assert names(folder, *patterns) == ["a1.txt", "a2.txt", "b.txt"]


def test_exclusions_may_have_braces(folder):
    assert names(folder, "*.txt", "!a{1..2}.txt") == ["b.txt"]


def test_an_exclusion_without_effect_is_warned_of(folder, caplog):
    assert names(folder, "b.txt", "!c.txt") == ["b.txt"]
    assert caplog.messages == [f"{FIELD}: the exclusion '!c.txt' takes no file out"]


def test_a_link_to_a_file_is_read_and_one_to_a_folder_is_not_followed(folder):
    (folder / "sub/link.txt").symlink_to(folder / "b.txt")
    (folder / "sub/loop").symlink_to(folder)
    assert names(folder, "sub/**") == ["sub/c.txt", "sub/deep/d.txt", "sub/link.txt"]


def test_size_and_stamp_of_a_local_file_are_those_of_its_stat(folder):
    (file,) = expand_urls(["b.txt"], field=FIELD)
    status = (folder / "b.txt").stat()
    assert (file.size, file.stamp) == (5, str(status.st_mtime_ns))


def test_files_in_memory_are_found_by_glob():
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe({"/urls/x.txt": b"x", "/urls/y.txt": b"yy"})
    found = expand_urls(["memory://urls/*.txt", "!memory://urls/x.txt"], field=FIELD)
    assert [(file.url, file.size) for file in found] == [("memory:///urls/y.txt", 2)]


def test_no_match_names_field_pattern_and_working_directory(folder):
    assert message("data/{x,y}*.txt") == (
        "spec.data.trainUrls holds 'data/x*.txt' (from 'data/{x,y}*.txt'), which matches no file: expected at "
        f"least one. `*` is taken for a pattern, since no file has this very "
        f"name. Relative paths start at the working directory, {folder}; `*` stays within a folder, "
        "`**/` goes below it."
    )


def test_a_missing_file_is_named(folder):
    assert message("nothing.txt").startswith(
        "spec.data.trainUrls names 'nothing.txt', which does not exist: expected a file"
    )


def test_a_link_to_nothing_is_named(folder):
    (folder / "sub/dangling.txt").symlink_to("gone")
    assert f"names '{folder}/sub/dangling.txt', which does not exist" in message("sub/*.txt")


def test_a_folder_is_refused_with_the_pattern_to_write(folder):
    assert message("sub") == (
        f"spec.data.trainUrls names '{folder}/sub', which is a folder or a device: expected files. To read all "
        f"files of a folder, write {folder}/sub/*, or {folder}/sub/**/* with all folders below it."
    )


def test_a_device_is_refused():
    assert "names '/dev/zero', which is a folder or a device: expected files" in message("/dev/zero")


@pytest.fixture
def locked_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody but root may look into, with a file."""
    path = tmp_path / "locked"
    path.mkdir()
    (path / "a.txt").write_text("a")
    path.chmod(0)
    yield path
    path.chmod(0o700)


def test_a_file_that_may_not_be_read_is_named_with_the_user(locked_folder, nobody):
    text = message(f"{locked_folder}/a.txt")
    assert text.startswith(
        f"spec.data.trainUrls names '{locked_folder}/a.txt', which user {nobody} may not read: expected read "
        "permission on the file and its folders. Change the permissions or run as another user."
    )


def test_all_files_excluded(folder):
    assert message("a*.txt", "!**/*.txt") == (
        "spec.data.trainUrls: its exclusions ['!**/*.txt'] take out all 2 files that the other patterns match: "
        "expected at least one to remain."
    )


@pytest.mark.parametrize("patterns", [(), ("!a.txt",)])
def test_nothing_to_read(patterns):
    assert "expected at least one path or URL of a file to read" in message(*patterns)


def test_an_unknown_scheme_gets_a_suggestion():
    assert message("gss://bucket/x.txt") == (
        "spec.data.trainUrls holds 'gss://bucket/x.txt': the scheme gss:// is unknown, expected a path or a URL "
        "that fsspec reads, such as gs://, s3:// or https://. Did you mean gs://?"
    )


def test_a_misspelt_python_stdlib_gets_a_suggestion():
    assert message("python-stdlb://**/*.py").endswith("Did you mean python-stdlib://?")


def test_unbalanced_braces(folder):
    assert message("a{1..2.txt").startswith("spec.data.trainUrls holds 'a{1..2.txt': Unbalanced braces")


def test_double_star_inside_a_name(folder):
    assert "Expected `**` between slashes" in message("a**.txt")


def test_an_empty_pattern():
    assert message(" ") == "spec.data.trainUrls holds the empty pattern ' ': expected a path or URL."


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """A server that answers every request for a bucket with the status that the dictionary gives it."""
    statuses: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = next((code for bucket, code in statuses.items() if f"/{bucket}" in self.path), 404)
            content = json.dumps({"error": {"code": status, "message": f"status {status} for you"}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for variable in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{server.server_port}")
    fsspec.filesystem("gs").clear_instance_cache()
    yield statuses
    fsspec.filesystem("gs").clear_instance_cache()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("pattern", ["gs://private/*.txt", "gs://private/a.txt"])
def test_a_bucket_without_access_says_how_to_get_it(object_store, pattern):
    object_store["private"] = 403
    text = message(pattern)
    assert text.startswith(f"spec.data.trainUrls names {pattern!r}, but access is denied: ")
    assert "spec.compute.serviceAccount" in text
    assert "gcloud auth application-default login" in text


@pytest.mark.parametrize("pattern", ["gs://private/*.txt", "gs://private/a.txt"])
def test_a_token_that_is_not_taken_says_what_to_look_at(object_store, pattern):
    """No UserError: the next attempt gets another token."""
    object_store["private"] = 401
    with pytest.raises(StoreError) as raised:
        expand_urls([pattern], field="spec.data.trainUrls")
    assert str(raised.value).startswith(
        f"spec.data.trainUrls names {pattern!r}: the object store does not take the token of the credentials. It may "
    )
    assert "gcloud auth application-default login" in str(raised.value)


@pytest.mark.parametrize("pattern", ["gs://missing/*.txt", "gs://missing/a.txt"])
def test_a_missing_bucket_is_named(object_store, pattern):
    assert pattern in message(pattern)


@pytest.mark.parametrize(
    ("header", "stamp"),
    [("ETag", '"v1"'), ("Last-Modified", "Fri, 27 Nov 2026 10:00:00 GMT"), ("Content-MD5", "Q2h"), (None, "")],
)
def test_a_server_tells_versions_apart_by_what_it_gives(header, stamp, caplog):
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "3")
            if header:
                self.send_header(header, stamp)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        (file,) = expand_urls([f"http://127.0.0.1:{server.server_port}/a.txt?sig=secret"], field=FIELD)
    finally:
        server.shutdown()
        server.server_close()
    assert file.stamp == stamp
    warned = [record for record in caplog.messages if "gives neither ETag nor Last-Modified" in record]
    assert (len(warned), any("secret" in record for record in warned)) == (0 if header else 1, False)


@pytest.mark.parametrize("root", ["", "memory://folders/"])
def test_a_folder_of_the_very_name_is_meant_in_exclusions_too(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    filesystem, path = fsspec.url_to_fs(root or str(tmp_path))
    for name in ("d[1]/a.txt", "d[1]/b.txt", "d1/a.txt", "d1/b.txt"):
        filesystem.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
        filesystem.pipe(f"{path}/{name}", name.encode())

    def found(*patterns: str) -> list[str]:
        return ["/".join(file.url.split("/")[-2:]) for file in expand_urls(patterns, field=FIELD)]

    assert found(f"{root}d[1]/*.txt") == ["d[1]/a.txt", "d[1]/b.txt"]
    assert found(f"{root}d[1]/*.txt", f"!{root}d[1]/b*.txt") == ["d[1]/a.txt"]
    assert found(f"{root}d*/*.txt", f"!{root}d[1]/*.txt") == ["d1/a.txt", "d1/b.txt"]


def test_a_file_that_is_called_like_a_pattern_is_read_alone_with_a_warning(folder, caplog):
    (folder / "*.txt").write_text("by mistake")
    assert names(folder, "*.txt") == ["*.txt"]
    assert caplog.messages == [f"{FIELD}: '*.txt' is read alone: it is the name of a file, so not a pattern"]


@pytest.fixture
def web_server() -> Iterator[str]:
    """Answers every name with five bytes and an ETag, and `/` with links to two files."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, *, body: bool) -> None:
            content = b'<a href="a.txt">a</a><a href="b.txt">b</a>' if self.path == "/" else b"hello"
            self.send_response(200)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Type", "text/html" if self.path == "/" else "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_files_that_a_pattern_finds_on_a_web_server_have_sizes_and_stamps(web_server, caplog):
    """Without them no change of such a file would be noticed."""
    pytest.importorskip("aiohttp")
    found = [(file.url, file.size, file.stamp) for file in expand_urls([f"{web_server}/*.txt"], field=FIELD)]
    assert found == [(f"{web_server}/a.txt", 5, '"one"'), (f"{web_server}/b.txt", 5, '"one"')]
    assert not caplog.messages
