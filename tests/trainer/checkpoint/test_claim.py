"""An attempt that was thought to be gone, on a node that nobody could reach, comes back: it must not save any more."""

import jax.numpy as jnp
import pytest
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.checkpoint.folder import State
from lateen_trainer.checkpoint.save import NotSavedError, Writing
from lateen_trainer.errors import SupersededError


def attempt(folder, number: int) -> Checkpoints:
    checkpoints = Checkpoints(str(folder))
    checkpoints.claim(f"attempt {number} of nano on node-{number}")
    return checkpoints


def values(number: float) -> dict:
    return {"x": jnp.full(8, number)}


def test_who_was_started_last_saves(tmp_path):
    first = attempt(tmp_path, 1)
    first.save(1, values(1), {}, block=True)
    second = attempt(tmp_path, 2)
    second.save(2, values(2), {}, block=True)
    with pytest.raises(SupersededError, match="was taken over by attempt 2 of nano on node-2: this attempt ends"):
        first.save(3, values(3), {}, block=True)
    assert second.folder.steps() == [2]


def test_what_the_later_attempt_wrote_is_untouched(tmp_path):
    first, second = attempt(tmp_path, 1), attempt(tmp_path, 2)
    second.save(1, values(2), {"by": 2}, block=True)
    with pytest.raises(SupersededError):
        first.save(1, values(1), {"by": 1}, block=True)
    restored, metadata = attempt(tmp_path, 3).restore(values(0))
    assert (float(restored["x"][0]), metadata) == (2.0, {"by": 2})


def test_a_save_that_had_begun_before_is_not_committed(tmp_path, monkeypatch):
    first = attempt(tmp_path, 1)
    write_part = Writing._write_part

    def taken_over_meanwhile(writing, layouts):
        attempt(tmp_path, 2)
        return write_part(writing, layouts)

    monkeypatch.setattr(Writing, "_write_part", taken_over_meanwhile)
    with pytest.raises(SupersededError):
        first.save(1, values(1), {}, block=True)
    assert first.folder.look(1).state is State.INCOMPLETE


def test_it_is_no_failure_of_which_training_may_go_on():
    assert not issubclass(SupersededError, NotSavedError)
