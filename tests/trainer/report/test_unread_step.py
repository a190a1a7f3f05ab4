"""For how long devices had nothing to do."""

import time
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import pytest
from lateen_trainer.report import names
from lateen_trainer.report.unread_step import UnreadStep


def unread(loss: Any) -> UnreadStep:
    return UnreadStep({names.LOSS: loss}, jnp.array(False), {}, 0.0)


def test_devices_that_have_ended_a_step_are_idle_until_they_get_the_next_one():
    loss = jnp.float32(2.0) + 1
    loss.block_until_ready()
    assert unread(loss).idle_since(time.perf_counter() - 3) == pytest.approx(3, abs=0.5)


def test_devices_that_still_compute_are_not_idle():
    assert unread(SimpleNamespace(is_ready=lambda: False)).idle_since(time.perf_counter() - 3) == 0.0
