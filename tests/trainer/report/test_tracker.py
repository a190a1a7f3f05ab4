"""Several trackers as one."""

from collections.abc import Mapping

import jax.numpy as jnp
import pytest
from lateen_trainer.report.tracker import Trackers


class Remembering:
    """A tracker that keeps what it gets."""

    def __init__(self, failure: Exception | None = None):
        self.logged: list[tuple[int, Mapping[str, float]]] = []
        self.finished = False
        self._failure = failure

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.logged.append((step, metrics))

    def finish(self) -> None:
        if self._failure is not None:
            raise self._failure
        self.finished = True


def test_all_trackers_get_plain_numbers():
    one, other = Remembering(), Remembering()
    Trackers([one, other]).log({"loss": jnp.float32(0.1)}, step=3)
    assert one.logged == other.logged == [(3, {"loss": 0.10000000149011612})]
    assert type(one.logged[0][1]["loss"]) is float


def test_one_that_cannot_be_finished_leaves_the_others_finished():
    failing, other = Remembering(OSError("disk full")), Remembering()
    with pytest.raises(ExceptionGroup) as caught:
        Trackers([failing, other]).finish()
    assert [str(error) for error in caught.value.exceptions] == ["disk full"]
    assert other.finished
