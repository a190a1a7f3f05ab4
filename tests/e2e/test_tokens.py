"""Tokens of an object store expire while a run goes on: TensorStore and gcsfs get new ones by themselves.

Each client has a metadata server of its own, since they renew a token at different times before it expires: TensorStore
a minute, gcsfs five. TensorStore keeps one token per process, so that the clients run in processes of their own.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorstore as ts
from cluster.faulty_proxy import FaultyProxy
from cluster.metadata_server import MetadataServer
from cluster.object_store import object_store
from faulty_store import BUCKET, needs_server
from lateen_api.termination import ExitCode

pytestmark = needs_server

WORKER = Path(__file__).with_name("token_worker.py")
VALID = 3.0
"""Seconds for which a token is taken. Two remain to a client that renews it in time."""


@dataclass
class World:
    """An object store that wants tokens, and who gives them."""

    proxy: FaultyProxy
    for_tensorstore: MetadataServer
    for_gcsfs: MetadataServer

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        here = {
            "GCE_METADATA_ROOT": self.for_tensorstore.host,
            "GCE_METADATA_HOST": self.for_gcsfs.host,
            "GCE_METADATA_IP": self.for_gcsfs.host,
            "STORAGE_EMULATOR_HOST": self.proxy.address,
            "TENSORSTORE_GCS_HTTP_URL": self.proxy.address,
            "HOME": "/nonexistent",
            "JAX_PLATFORMS": "cpu",
        }
        return subprocess.Popen(
            [sys.executable, str(WORKER), *arguments],
            env={**os.environ, **here},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """With three texts of 200 bytes."""
    with object_store(BUCKET) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        bucket = ts.KvStore.open({"driver": "gcs", "bucket": BUCKET}).result()
        for number in range(3):
            bucket.write(f"texts/{number}.txt", b"x" * 200).result()
        yield address


def test_tokens_that_expire_are_renewed(server):
    with (
        MetadataServer(stated=61, valid=VALID) as for_tensorstore,
        MetadataServer(stated=301, valid=VALID) as for_gcsfs,
        FaultyProxy(server, tokens=[for_tensorstore, for_gcsfs]) as proxy,
    ):
        out, error = World(proxy, for_tensorstore, for_gcsfs).start("go_on", str(2 * VALID)).communicate(timeout=200)
        assert out, error
        found = json.loads(out)
        assert (found["restored"], found["same"]) == ({"step": found["step"]}, True)
        assert proxy.happened == []  # no token was used that had expired
        # Neither asked for one per request.
        assert 3 <= for_tensorstore.issued < found["step"] * 3
        assert 3 <= for_gcsfs.issued < found["step"] * 3


def test_a_token_that_is_withdrawn_ends_the_attempt_and_the_next_one_goes_on(server):
    """Neither client gives up a token before the time that was stated. Another process gets another one."""
    with (
        MetadataServer() as for_tensorstore,
        MetadataServer() as for_gcsfs,
        FaultyProxy(server, tokens=[for_tensorstore, for_gcsfs]) as proxy,
    ):
        world = World(proxy, for_tensorstore, for_gcsfs)
        said = lose_the_token(world)
        assert said[:2] == [{"before": None}, {"saved": 1}]
        assert said[2]["trouble"] == "bad token"
        what = "the object store does not take the token of the credentials. It may have expired or been withdrawn"
        assert (
            f"process 0 could not write its part: spec.checkpoint.path is 'gs://{BUCKET}/lost': {what}"
            in (said[2]["error"])
        )
        assert said[3]["code"] == ExitCode.ERROR
        assert f"spec.checkpoint.path names 'gs://{BUCKET}/lost': {what}" in said[3]["error"]
        assert lose_the_token(world)[:2] == [{"before": {"step": 1}}, {"saved": 2}]


@pytest.mark.parametrize(
    ("silent", "expected"),
    [
        ("store", "the object store cannot be reached (ABORTED: All 3 retry attempts failed: CURL error Timeout was "),
        ("metadata", "no credentials were found, or the metadata server that gives them did not answer: on Google "),
    ],
)
def test_a_server_that_takes_requests_and_never_answers_is_given_up(server, silent: str, expected: str):
    """TensorStore alone would wait for ever. Here it waits for a second, not for thirty."""
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        MetadataServer() as metadata,
        FaultyProxy(server, tokens=[metadata]) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", "1")
        if silent == "store":
            proxy.faults, proxy.share = ["silent"], 1
        else:
            metadata.host = f"127.0.0.1:{mute.getsockname()[1]}"
        out, error = World(proxy, metadata, metadata).start("knock").communicate(timeout=200)
        assert out, error
        found = json.loads(out)
        assert f"spec.checkpoint.path is 'gs://{BUCKET}/new': {expected}" in found["error"]
        assert found["code"] == ExitCode.ERROR  # another attempt may have better luck
        assert 1 <= found["seconds"] < 12


def lose_the_token(world: World) -> list[dict]:
    """What a process says whose tokens are withdrawn after its first save."""
    process = world.start("lose_the_token")
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(2)]
    world.for_tensorstore.withdraw()
    world.for_gcsfs.withdraw()
    rest, error = process.communicate("now\n", timeout=200)
    assert all(first), error
    return [json.loads(line) for line in (*first, *rest.splitlines())]
