"""A proxy before an object store: faults of the network, tokens that expire, and rights that are missing."""

import http.client
import http.server
import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qs, unquote, urlsplit

from cluster.metadata_server import MetadataServer

HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})

_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/[^/]+/o/(?P<name>[^/?]+)(?P<copy>/(?:copyTo|rewriteTo)/.*)?$")
_OBJECTS = re.compile(r"/storage/v1/b/[^/]+/o/?$")
_UPLOAD = re.compile(r"/(?:resumable/)?upload/(?:resumable/)?storage/v1/b/[^/]+/o/?$")
_IN_BATCH = re.compile(rb"DELETE /storage/v1/b/")


class FaultyProxy(http.server.ThreadingHTTPServer):
    """Passes requests on to an object store, but for some.

    Args:
        server: address of the object store.
        faults: what may happen to a request, by a seed: a status of HTTP, `reset`, `lost` (it is done, and the answer
            is lost), `slow`, or `silent` (it is taken, and never answered).
        share: of the requests that it happens to, 0 to 1.
        tokens: give the tokens that are let in; empty: all requests are, those without a token too.
        rights: what the caller may do with objects (`get`, `create`, `delete`, `list`), as IAM has it: who overwrites
            an object needs `delete` too.
    """

    daemon_threads = True

    def __init__(
        self,
        server: str,
        *,
        faults: Sequence[int | str] = (),
        share: float = 0.0,
        seed: int = 0,
        tokens: Sequence[MetadataServer] = (),
        rights: Iterable[str] = ("get", "create", "delete", "list"),
    ):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = urlsplit(server).netloc
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults, self.share = faults, share
        self.most: int | None = None
        """Faults after which no other happens; None: there is no such number."""
        self.tokens, self.rights = tokens, frozenset(rights)
        self.happened: list[int | str] = []
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._closing = threading.Event()

    def fault(self) -> int | str | None:
        """What happens to the next request; None: nothing."""
        with self._lock:
            over = self.most is not None and len(self.happened) >= self.most
            if over or not self.faults or self._random.random() >= self.share:
                return None
            self.happened.append(fault := self._random.choice(self.faults))
            return fault

    def hold(self) -> None:
        """Returns when the proxy ends."""
        self._closing.wait()

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FaultyProxy  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self._body()
        fault = self.server.fault()
        if fault in ("reset", "silent"):
            if fault == "silent":
                self.server.hold()
            self._cut()
        elif isinstance(fault, int):
            self._refuse(fault, "a fault of the test")
        elif self._lacks_token():
            self.server.happened.append(401)
            anonymous = "Anonymous caller does not have storage.objects.get access to the Google Cloud Storage object."
            self._refuse(401, "Invalid Credentials" if "Authorization" in self.headers else anonymous)
        elif (right := self._missing_right(body)) is not None:
            self.server.happened.append(403)
            self._refuse(
                403,
                f"trainer@project.iam.gserviceaccount.com does not have storage.objects.{right} access to the Google "
                f"Cloud Storage object. Permission 'storage.objects.{right}' denied on resource (or it may not exist).",
            )
        else:
            status, headers, content = self._upstream(self.command, self.path, body)
            if fault == "lost":
                self._cut()
            else:
                self._answer(status, headers, content, slow=fault == "slow")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass_on

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _upstream(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.server.server, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        upstream.request(method, path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
        return answer.status, kept, content

    def _lacks_token(self) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return bool(self.server.tokens) and not any(source.is_valid(token) for source in self.server.tokens)

    def _missing_right(self, body: bytes) -> str | None:
        """The right that the request needs and the caller does not have; None: it may be done."""
        return next((right for right in self._needed_rights(body) if right not in self.server.rights), None)

    def _needed_rights(self, body: bytes) -> list[str]:
        url = urlsplit(self.path)
        if url.path.endswith("/batch/storage/v1"):
            return ["delete"] if _IN_BATCH.search(body) else []
        if _OBJECTS.match(url.path):
            return ["list"]
        if _UPLOAD.match(url.path):
            name = parse_qs(url.query).get("name", [""])[0]
            overwrites = "delete" not in self.server.rights and self._exists(name)
            return ["create", "delete"] if overwrites else ["create"]
        if (found := _OBJECT.match(url.path)) is None:
            return []
        if found["copy"]:
            return ["get", "create"]
        if self.command == "DELETE":
            return ["delete"]
        # Who may not list must not learn which objects there are.
        hidden = "list" not in self.server.rights and not self._exists(unquote(found["name"]))
        return ["get", "list"] if hidden else ["get"]

    def _exists(self, name: str) -> bool:
        bucket = self.path.partition("/b/")[2].partition("/")[0]
        quoted = name.replace("/", "%2F")
        return self._upstream("GET", f"/storage/v1/b/{bucket}/o/{quoted}", b"")[0] == 200

    def _refuse(self, status: int, message: str) -> None:
        error = {"error": {"code": status, "message": message, "errors": [{"message": message, "domain": "global"}]}}
        self._answer(status, {"Content-Type": "application/json"}, json.dumps(error, indent=2).encode())

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, slow: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        pieces = 5 if slow else 1
        size = -(-len(content) // pieces) or 1
        for start in range(0, len(content), size):
            self.wfile.write(content[start : start + size])
            self.wfile.flush()
            if slow:
                time.sleep(0.05)

    def log_message(self, format: str, *arguments: object) -> None:
        """The test says what matters."""
