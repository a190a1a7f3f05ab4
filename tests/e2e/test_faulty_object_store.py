"""Caches in an object store that fails: none of its faults costs more than a retry, and a dead one is named."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from cluster.faulty_proxy import FaultyProxy
from cluster.object_store import object_store
from lateen_api.spec import DataSpec
from lateen_trainer import storage
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.leases import Leases
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.retries import retried
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.errors import TrainerError, UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="fake-gcs-server is built from its Go module"),
    pytest.mark.timeout(600),
]

BUCKET = "faulty"
LAYOUT = Layout(chunk=64, shard=1024, part=3000)
QUICK = {"gcs_request_retries": {"max_retries": 12, "initial_delay": "10ms", "max_delay": "100ms"}}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with object_store(BUCKET) as address:
        yield address


@pytest.fixture
def spec(tmp_path: Path) -> DataSpec:
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text(f"Text {number} of the corpus.\n" * 120)
    return DataSpec(tokenizer="bytes", train_urls=[f"{tmp_path}/*.txt"])


def build(spec: DataSpec, cache_dir: str, retries: dict | None = None) -> TokenCache:
    context = None if retries is None else ts.Context(retries)
    return open_or_build_cache(
        spec, "train", ByteTokenizer(), cache_dir, progress=lambda _: None, layout=LAYOUT, context=context
    )


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with FaultyProxy(server, faults=[429, 500, 503, "reset", "lost", "slow"], share=0.15) as proxy:
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", proxy.address)
        monkeypatch.setattr(storage, "_FIRST_TRIES", QUICK)
        yield proxy


def test_builders_and_readers_lose_nothing_by_faults(spec, proxy, tmp_path):
    """Three builders side by side, whose leases are conditional writes that may fail, or succeed without an answer."""
    local = build(spec, str(tmp_path / "cache"))
    with ThreadPoolExecutor(3) as pool:
        caches = list(pool.map(lambda _: build(spec, f"gs://{BUCKET}/cache", QUICK), range(3)))
    assert {cache.ledger.digest for cache in caches} == {local.ledger.digest}
    assert set(proxy.happened) == {429, 500, 503, "reset", "lost", "slow"}
    starts = np.random.default_rng(0).integers(0, len(local) - 300, 30)
    assert np.array_equal(caches[0].rows(starts, 300), local.rows(starts, 300))
    caches[1].verify()


def test_an_object_store_that_dies_while_it_is_read_is_named(spec, proxy, monkeypatch):
    proxy.share = 0
    few = {"gcs_request_retries": {"max_retries": 2, "initial_delay": "10ms", "max_delay": "10ms"}}
    cache = build(spec, f"gs://{BUCKET}/read", few)
    monkeypatch.setitem(retried.__kwdefaults__, "delays", (0.1, 0.1))
    proxy.faults, proxy.share = [503], 1
    with pytest.raises(TrainerError) as raised:
        cache.rows(np.array([0]), 300)
    assert str(raised.value).startswith(f"spec.data.cacheDir is '{cache.url}': the object store cannot be reached (")
    assert cache.read_retries == 2


def test_an_object_store_that_dies_during_the_build_is_named_and_the_build_goes_on(spec, proxy, tmp_path):
    few = {"gcs_request_retries": {"max_retries": 2, "initial_delay": "10ms", "max_delay": "10ms"}}
    proxy.share = 0

    def die(now) -> None:
        if now.parts == 1:
            proxy.faults, proxy.share = ["reset"], 1

    with pytest.raises(TrainerError, match=r"^spec\.data\.cacheDir is 'gs://.*': the object store cannot be "):
        open_or_build_cache(
            spec, "train", ByteTokenizer(), f"gs://{BUCKET}/built", progress=die, layout=LAYOUT, context=ts.Context(few)
        )
    proxy.share = 0
    assert build(spec, f"gs://{BUCKET}/built", few).ledger.digest == build(spec, str(tmp_path / "cache")).ledger.digest


def test_refused_access_is_not_tried_again(spec, proxy):
    proxy.faults, proxy.share = [403], 1
    with pytest.raises(UserError, match=r"access is denied\. Give the pods' service account"):
        build(spec, f"gs://{BUCKET}/denied", QUICK)


def test_a_lease_is_held_although_the_answer_to_its_write_was_lost(proxy):
    """Else the builder would wait for itself, until the lease expires."""
    store = ts.KvStore.open({"driver": "gcs", "bucket": BUCKET, "path": "leases/"}, context=ts.Context(QUICK)).result()
    leases = Leases(store, seconds=0.4)
    proxy.share = 0
    assert store.read("nothing").result().state == "missing"
    read, proxy.faults, proxy.most = store.read, ["lost"], 1

    class Losing:
        """The store, which loses the answers to writes alone."""

        def read(self, key: str):
            return read(key)

        def write(self, *arguments, **conditions):
            proxy.share = 1
            return store.write(*arguments, **conditions)

    lease = Leases(Losing(), seconds=0.4).take(0)  # pyright: ignore[reportArgumentType]
    assert proxy.happened == ["lost"]
    assert lease is not None
    assert leases.take(0) is None
    proxy.most = 2
    deadline = time.monotonic() + 10
    while len(proxy.happened) < 2:  # its renewal
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    assert leases.take(0) is None  # it is renewed still
    lease.release()
    assert store.read("leases/00000.json").result().state == "missing"
