"""A metadata server as on Google's machines: it gives tokens to whoever asks from this machine."""

import http.server
import json
import threading

ACCOUNT = "trainer@project.iam.gserviceaccount.com"
_ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"


class MetadataServer(http.server.ThreadingHTTPServer):
    """Gives the tokens `token-1`, `token-2`, …, a new one each time that it is asked after the last has expired.

    Args:
        lifetime: seconds for which it says that a token is good.
    """

    daemon_threads = True

    def __init__(self, *, lifetime: int = 3600):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.lifetime = lifetime
        self.asked = 0
        """How often a token was asked for."""
        self._number, self._lock = 1, threading.Lock()

    def token(self) -> str:
        """The token that is valid."""
        with self._lock:
            self.asked += 1
            return f"token-{self._number}"

    def is_valid(self, token: str) -> bool:
        with self._lock:
            return token == f"token-{self._number}"

    def expire(self) -> None:
        """Declares the token invalid that was valid, whatever was said of its lifetime."""
        with self._lock:
            self._number += 1

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
        if path == f"{_ACCOUNTS}/default":
            scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
            self._answer({"email": ACCOUNT, "scopes": scopes, "aliases": ["default"]})
        elif path in (f"{_ACCOUNTS}/default/token", f"{_ACCOUNTS}/{ACCOUNT}/token"):
            token = self.server.token()
            self._answer({"access_token": token, "expires_in": self.server.lifetime, "token_type": "Bearer"})
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
