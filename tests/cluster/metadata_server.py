"""A metadata server as on Google's machines: it gives tokens to whoever asks from this machine."""

import http.server
import json
import threading
import time

ACCOUNT = "trainer@project.iam.gserviceaccount.com"
_ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"


class MetadataServer(http.server.ThreadingHTTPServer):
    """Gives tokens, a new one each time.

    Args:
        stated: seconds for which it says that a token is valid.
        valid: seconds for which it is; None: until it is withdrawn.
    """

    daemon_threads = True

    def __init__(self, *, stated: int = 3600, valid: float | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.stated, self._valid = stated, valid
        self._issued: dict[str, float] = {}
        self._withdrawn: set[str] = set()
        self._lock = threading.Lock()

    @property
    def issued(self) -> int:
        """Tokens that were given."""
        return len(self._issued)

    def token(self) -> str:
        """A new token."""
        with self._lock:
            token = f"token-{self.host}-{len(self._issued) + 1}"
            self._issued[token] = time.monotonic()
            return token

    def is_valid(self, token: str) -> bool:
        with self._lock:
            if token not in self._issued or token in self._withdrawn:
                return False
            return self._valid is None or time.monotonic() - self._issued[token] < self._valid

    def withdraw(self) -> None:
        """Makes all tokens invalid that were given, whatever was said of them."""
        with self._lock:
            self._withdrawn.update(self._issued)

    def __enter__(self) -> "MetadataServer":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: MetadataServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        if path in (f"{_ACCOUNTS}/default", f"{_ACCOUNTS}/{ACCOUNT}"):
            scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
            self._answer({"email": ACCOUNT, "scopes": scopes, "aliases": ["default"]})
        elif path in (f"{_ACCOUNTS}/default/token", f"{_ACCOUNTS}/{ACCOUNT}/token"):
            token = self.server.token()
            self._answer({"access_token": token, "expires_in": self.server.stated, "token_type": "Bearer"})
        elif path == "/computeMetadata/v1/project/project-id":
            self._answer("project")
        elif path == "/computeMetadata/v1/universe/universe-domain":
            self._answer("googleapis.com")
        else:
            self._answer({})

    def _answer(self, content: object) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/text" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """The test says what matters."""
