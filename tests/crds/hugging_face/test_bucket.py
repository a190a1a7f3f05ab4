"""Whether an object store answers, and has a bucket."""

import http.server
import threading
import time
from collections.abc import Iterator

import pytest
from lateen_api.errors import JobError, UnreachableError
from lateen_api.hugging_face.bucket import check_bucket
from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.termination import ExitCode

STATUS = {"/storage/v1/b/there": 200, "/storage/v1/b/private": 403, "/storage/v1/b/busy": 503}
"""By path; 404 for all others."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(STATUS.get(self.path, 404))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    check_bucket.cache_clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()
    check_bucket.cache_clear()


@pytest.mark.parametrize("bucket", ["there", "private", "busy"])
def test_any_answer_but_that_there_is_no_bucket_is_left_to_the_client(bucket: str):
    check_bucket(bucket)


def test_a_bucket_that_does_not_exist_is_named():
    with pytest.raises(JobError, match=r"^field: is 'gs://missing/model': there is no such bucket\. Correct") as raised:
        ModelFolder("gs://missing/model", "field").read("config.json")
    assert raised.value.exit_code == ExitCode.USER_ERROR


def test_a_store_that_does_not_answer_is_named_within_seconds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
    expected = r"^field: is 'gs://there/model': the object store cannot be reached \(.*refused\)\. Check"
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=expected) as raised:
        ModelFolder("gs://there/model", "field").read_json("config.json")
    assert time.monotonic() - began < 10
    assert raised.value.exit_code == ExitCode.ERROR
