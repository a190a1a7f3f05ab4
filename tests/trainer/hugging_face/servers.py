"""A web server on loopback that gives out a folder by ranges: as plain files, and as the Hugging Face hub does."""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

SHA = "0123456789abcdef0123456789abcdef01234567"
_FILE = re.compile(r"/files/(?P<plain>[^/?]+)|/org/name/resolve/(?P<revision>[^/]+)/(?P<hub>[^/?]+)")


class FolderServer(http.server.ThreadingHTTPServer):
    """The server; `bytes_sent` counts bodies of files."""

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.bytes_sent: dict[str, int] = {}
        self.revisions: set[str] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(folder: Path) -> Iterator[FolderServer]:
    """A server while the block runs."""
    with FolderServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FolderServer

    def do_GET(self) -> None:
        path = unquote(self.path)
        if match := _FILE.match(path):
            if match["revision"]:
                self.server.revisions.add(match["revision"])
            self._file(self.server.folder / (match["plain"] or match["hub"]))
        elif path.startswith("/api/models/org/name/tree/"):
            self._json([self._entry(file) for file in sorted(self.server.folder.iterdir())])
        elif path.startswith("/api/models/org/name/paths-info/"):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._json([self._entry(file) for file in sorted(self.server.folder.iterdir())])
        elif path.startswith("/api/models/org/name"):
            self._json({"id": "org/name", "sha": SHA, "siblings": [], "tags": []})
        else:
            self._send(404, b"", {})

    do_HEAD = do_POST = do_GET

    def _entry(self, file: Path) -> dict:
        return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": SHA}

    def _file(self, file: Path) -> None:
        if not file.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content, status, headers = file.read_bytes(), 200, {"Accept-Ranges": "bytes"}
        if (wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))) is not None:
            start, last = int(wanted[1]), int(wanted[2])
            headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
            content, status = content[start : last + 1], 206
        if self.command != "HEAD":
            sent = self.server.bytes_sent
            sent[file.name] = sent.get(file.name, 0) + len(content)
        self._send(status, content, headers)

    def _json(self, body: object) -> None:
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
