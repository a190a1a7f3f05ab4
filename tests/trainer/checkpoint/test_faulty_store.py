"""Checkpoints in an object store that fails: no fault costs more than retries, and a dead or refusing one is named."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from cluster.faulty_proxy import FaultyProxy
from faulty_store import BUCKET, faulty_proxy, needs_server, retries
from lateen_trainer import storage
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.save import NotSavedError
from lateen_trainer.errors import TrainerError, UserError
from lateen_trainer.storage import StoreError, StoreTrouble, check_writable

pytestmark = needs_server

FIELD = "spec.checkpoint.path"
ROOT = f"gs://{BUCKET}"


@pytest.fixture
def proxy(fake_gcs: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with faulty_proxy(fake_gcs, monkeypatch) as proxy:
        yield proxy


def state(seed: int) -> dict:
    values = np.random.default_rng(seed).standard_normal((64, 32), dtype=np.float32)
    return {"weight": jnp.asarray(values), "bias": jnp.asarray(values[0]), "count": jnp.asarray(seed, jnp.int32)}


def same(one: dict, other: dict) -> bool:
    return all(np.asarray(one[name]).tobytes() == np.asarray(other[name]).tobytes() for name in other)


def restored(url: str) -> tuple[dict, dict]:
    """The newest state and its metadata, by another attempt."""
    found = Checkpoints(url).restore(state(0))
    assert found is not None
    return found


@pytest.mark.parametrize("fault", [429, 500, 503, "reset", "lost", "slow"])
def test_a_fault_while_saving_and_restoring_costs_retries_only(proxy: FaultyProxy, fault):
    """Saved, deleted by retention, restored by another attempt: all through the fault."""
    checkpoints = Checkpoints(f"{ROOT}/{fault}")
    proxy.faults, proxy.share = [fault], 0.2
    for step in (5, 6):
        checkpoints.save(step, state(step), {"step": step}, block=True)
    newest, metadata = restored(f"{ROOT}/{fault}")
    assert metadata == {"step": 6}
    assert same(newest, state(6))
    assert checkpoints.folder.steps() == [6]
    assert set(proxy.happened) == {fault}


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        (["get", "list"], "storage.objects.create is missing, which it takes to write objects."),
        (["create"], "storage.objects.get is missing, which it takes to read objects."),
        (["get", "create", "delete"], "storage.objects.list is missing, which it takes to list objects."),
        (
            ["get", "create", "list"],
            "storage.objects.delete is missing, which it takes to overwrite and delete objects.",
        ),
    ],
    ids=["viewer", "creator", "no list", "no delete"],
)
def test_a_missing_right_is_named_before_anything_is_done(proxy: FaultyProxy, rights, missing):
    proxy.rights = frozenset(rights)
    url = f"{ROOT}/{'-'.join(rights)}"
    with pytest.raises(UserError) as raised:
        check_writable(url, field=FIELD)
    assert str(raised.value).startswith(
        f"{FIELD} is '{url}': access is denied: the right {missing} Give the pods' service account "
        "(spec.compute.serviceAccount) the role Storage Object User on the bucket; "
    )
    assert len(proxy.happened) == 1  # it is not tried again


def test_a_right_that_is_taken_away_is_named_by_the_save_that_misses_it(proxy: FaultyProxy):
    url = f"{ROOT}/rights"
    checkpoints = Checkpoints(url)
    checkpoints.save(5, state(5), {}, block=True)
    for right in ("create", "get", "delete"):
        proxy.rights = frozenset({"get", "create", "delete", "list"} - {right})
        with pytest.raises(NotSavedError, match=rf"the right storage\.objects\.{right} is missing") as raised:
            checkpoints.save(6, state(6), {}, block=True)
        assert raised.value.trouble is StoreTrouble.REFUSED
    proxy.rights = frozenset({"get", "create", "delete", "list"})
    assert restored(url)[1] == {}
    proxy.rights = frozenset({"get", "create", "delete"})
    with pytest.raises(
        UserError, match=rf"^{FIELD} names '{url}', but access is denied: the right storage\.objects\.list"
    ):
        Checkpoints(url).restore(state(0))


def test_the_dead_are_named_while_a_checkpoint_is_restored(proxy: FaultyProxy, monkeypatch):
    url = f"{ROOT}/restored"
    Checkpoints(url).save(5, state(5), {}, block=True)
    monkeypatch.setattr(storage, "RETRIES", retries(2))
    checkpoints = Checkpoints(url)
    steps = checkpoints.folder.steps

    def then_it_dies() -> list[int]:
        found = steps()
        proxy.faults, proxy.share = [503], 1
        return found

    monkeypatch.setattr(checkpoints.folder, "steps", then_it_dies)
    with pytest.raises(StoreError) as raised:
        checkpoints.restore(state(0))
    assert str(raised.value).startswith(f"{FIELD} is '{url}': the object store cannot be reached (")
    proxy.share = 0
    assert same(restored(url)[0], state(5))  # nothing was taken for damaged and set aside


def test_no_process_hangs_when_the_store_dies_while_all_save(proxy: FaultyProxy, monkeypatch):
    """Each ends with the name of the store, in the time that the tries take: none waits for a word from another."""
    monkeypatch.setattr(storage, "RETRIES", retries(3))
    url = f"{ROOT}/together"
    everyone = threading.Barrier(2)

    def meet(_: str) -> None:
        everyone.wait(30)

    def save_two(process: int) -> tuple[Exception | None, float]:
        checkpoints = Checkpoints(url, process_index=process, process_count=2, barrier=meet, agree=lambda ok: ok)
        checkpoints.save(5, state(5), {}, block=True)
        meet("saved")
        proxy.faults, proxy.share = [503], 1
        began = time.monotonic()
        try:
            checkpoints.save(6, state(6), {}, block=True)
        except TrainerError as error:
            return error, time.monotonic() - began
        return None, time.monotonic() - began

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(save_two, range(2)))
    for process, (error, seconds) in enumerate(ends):
        assert isinstance(error, NotSavedError)
        assert error.trouble is StoreTrouble.UNREACHABLE
        assert f"process {process} could not write its part: {FIELD} is '{url}': the object store cannot" in str(error)
        assert seconds < 5
    proxy.share = 0
    assert restored(url)[1] == {}
