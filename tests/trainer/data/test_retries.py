"""Reads that fail: tried again where that may help, and reported with the storage's name."""

import logging

import numpy as np
import pytest
from lateen_trainer.data.retries import DELAYS, SLOW_SECONDS, retried
from lateen_trainer.errors import TrainerError, UserError

URL = "gs://bucket/cache/train-1"


class Storage:
    """Fails as often as it is told, and says how long was waited."""

    def __init__(self, *errors: str, seconds: float = 0.0):
        self.errors, self.seconds, self.now = list(errors), seconds, 0.0
        self.retries = 0

    def read(self) -> str:
        self.now += self.seconds
        if self.errors:
            raise ValueError(self.errors.pop(0))
        return "tokens"

    def retried(self) -> str:
        return retried(
            self.read,
            url=URL,
            field="spec.data.cacheDir",
            on_retry=self.count,
            sleep=self.sleep,
            clock=lambda: self.now,
        )

    def count(self) -> None:
        self.retries += 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("error", ["UNAVAILABLE: reset", "DEADLINE_EXCEEDED: slow", "RESOURCE_EXHAUSTED: 429"])
def test_what_may_pass_is_tried_again(error, caplog):
    storage = Storage(error, error)
    assert storage.retried() == "tokens"
    assert (storage.retries, storage.now) == (2, sum(DELAYS[:2]))
    assert f"Reading {URL} failed, it is tried again in 5 s: {error}" in caplog.text


def test_a_dead_storage_is_named_after_the_last_try():
    storage = Storage(*["UNAVAILABLE: nobody answers"] * 9)
    with pytest.raises(
        TrainerError, match=rf"^spec\.data\.cacheDir is '{URL}': the object store cannot be reached \(UNAV"
    ):
        storage.retried()
    assert (storage.retries, storage.now) == (len(DELAYS), sum(DELAYS))


def test_what_does_not_pass_is_not_tried_again():
    storage = Storage("PERMISSION_DENIED: no")
    with pytest.raises(UserError, match="access is denied"):
        storage.retried()
    assert storage.retries == 0


def test_slow_reads_are_reported(caplog):
    assert Storage(seconds=SLOW_SECONDS).retried() == "tokens"
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        Storage(seconds=SLOW_SECONDS + 1).retried()
    assert f"Reading {URL} took 31 s." in caplog.text


def test_a_cache_counts_what_it_reads_and_how_often_it_tried_again(cache, monkeypatch):
    cache.rows(np.array([0, 100]), 50)
    assert (cache.bytes_read, cache.read_retries) == (2 * 50 * 2, 0)
    fetch, failures = cache._arrays._fetch, ["UNAVAILABLE: reset"]

    def failing(*arguments):
        if failures:
            raise ValueError(failures.pop())
        fetch(*arguments)

    monkeypatch.setattr(cache._arrays, "_fetch", failing)
    monkeypatch.setitem(retried.__kwdefaults__, "sleep", lambda seconds: None)
    cache.rows(np.array([0]), 50)
    assert cache.read_retries == 1
