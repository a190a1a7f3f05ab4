"""A Hugging Face hub of data sets on loopback, from a mapping of revisions to files."""

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

Files = Mapping[str, bytes]
_API = re.compile(
    r"/api/datasets/(?P<name>[^/]+/[^/]+)(/(?P<what>revision|tree|paths-info)/(?P<revision>[^/]+)(/(?P<path>.+))?)?"
)
_FILE = re.compile(r"/datasets/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


def commit_of(files: Files) -> str:
    """A commit's name, which changes with its files."""
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class DatasetHub(http.server.ThreadingHTTPServer):
    """The hub.

    Args:
        repositories: by `org/name`, files by revision. A private one needs the token `hf_good`, a gated one is
            closed to all.
    """

    def __init__(self, repositories: Mapping[str, Mapping[str, Files]]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(repositories: Mapping[str, Mapping[str, Files]]) -> Iterator[DatasetHub]:
    """A hub while the block runs."""
    with DatasetHub(repositories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: DatasetHub

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        self.server.paths.append(path)
        match = _API.fullmatch(path) or _FILE.fullmatch(path)
        if match is None:
            self._send(404)
            return
        repository = self.server.repositories.get(match["name"])
        is_hidden = "private" in match["name"] and self.headers.get("Authorization") != "Bearer hf_good"
        if repository is None or is_hidden:
            self._send(401, headers={"X-Error-Code": "RepoNotFound"})
            return
        if "gated" in match["name"]:
            self._send(403, headers={"X-Error-Code": "GatedRepo"})
            return
        revision, inner = unquote(match["revision"] or "main"), unquote(match["path"] or "")
        by_commit = {commit_of(files): files for files in repository.values()}
        files = repository.get(revision, by_commit.get(revision))
        if files is None:
            self._send(404, headers={"X-Error-Code": "RevisionNotFound"})
        elif match.re is _FILE:
            self._file(files, inner)
        elif match["what"] in ("tree", "paths-info"):
            self._json([_entry(name, content) for name, content in files.items() if name.startswith(inner)])
        else:
            siblings = [{"rfilename": name} for name in files]
            self._json({"id": match["name"], "sha": commit_of(files), "siblings": siblings, "tags": []})

    do_HEAD = do_POST = do_GET

    def _file(self, files: Files, name: str) -> None:
        content = files.get(name)
        if content is None:
            self._send(404, headers={"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{blob_id(content)}"', "X-Repo-Commit": commit_of(files), "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._send(200, content, headers)
            return
        start, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
        self._send(206, content[start : last + 1], headers)

    def _json(self, body: object) -> None:
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def blob_id(content: bytes) -> str:
    """Git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(name: str, content: bytes) -> dict:
    return {"type": "file", "path": name, "size": len(content), "oid": blob_id(content)}
