"""A process that saves into an object store and reads from it, with tokens of a metadata server. It prints JSON."""

import asyncio
import json
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

from lateen_trainer import storage
from lateen_trainer.data.opening import open_source
from lateen_trainer.data.urls import expand_urls
from lateen_trainer.errors import TrainerError

BUCKET = "faulty"


def state(seed: int) -> dict[str, Any]:
    import jax.numpy as jnp  # here and below: some seconds that `knock` does not need

    return {"weight": jnp.arange(2048, dtype=jnp.float32) + seed}


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def read_text() -> int:
    """Bytes of the corpus, by gcsfs."""
    total = 0
    for file in expand_urls([f"gs://{BUCKET}/texts/*.txt"], field="spec.data.trainUrls"):
        with open_source(file) as stream:
            total += len(stream.read())
    return total


def go_on(seconds: float) -> None:
    """Saves and reads again and again, for so long."""
    from lateen_trainer.checkpoint.checkpoints import Checkpoints

    checkpoints, step, began = Checkpoints(f"gs://{BUCKET}/run"), 0, time.monotonic()
    while time.monotonic() - began < seconds:
        step += 1
        checkpoints.save(step, state(step), {"step": step}, block=True)
        assert checkpoints.folder.steps() == [step]
        assert read_text() == 600
    restored, metadata = checkpoints.restore(state(0)) or ({}, {})
    say(step=step, restored=metadata, same=bool((restored["weight"] == state(step)["weight"]).all()))


def lose_the_token() -> None:
    """Saves, waits for a line, and saves again."""
    from lateen_trainer.checkpoint.checkpoints import Checkpoints
    from lateen_trainer.checkpoint.save import NotSavedError

    checkpoints = Checkpoints(f"gs://{BUCKET}/lost")
    before = checkpoints.restore(state(0))
    say(before=before and before[1])
    step = 1 if before is None else before[1]["step"] + 1
    checkpoints.save(step, state(step), {"step": step}, block=True)
    say(saved=step)
    sys.stdin.readline()
    try:
        checkpoints.save(step + 1, state(step + 1), {}, block=True)
        say(error=None)
    except NotSavedError as error:
        say(error=str(error), trouble=error.trouble)
    try:
        say(steps=checkpoints.folder.steps())
    except TrainerError as error:
        say(error=str(error), code=error.exit_code)
    os._exit(0)  # what TensorStore still tries is of no interest


def knock() -> None:
    """Asks before any work whether the folder can be written to."""
    began = time.monotonic()
    try:
        storage.check_writable(f"gs://{BUCKET}/new", field="spec.checkpoint.path")
        say(error=None)
    except TrainerError as error:
        say(error=str(error), code=error.exit_code, seconds=time.monotonic() - began)
    os._exit(0)


if __name__ == "__main__":
    storage._FIRST_TRIES = storage.RETRIES = {
        "gcs_request_retries": {"max_retries": 3, "initial_delay": "10ms", "max_delay": "50ms"}
    }
    storage.kvstore_spec(f"gs://{BUCKET}", field="")  # before gcsfs is imported
    import gcsfs.retry

    gcsfs.retry.asyncio = SimpleNamespace(sleep=lambda seconds: asyncio.sleep(seconds / 100))
    match sys.argv[1]:
        case "go_on":
            go_on(float(sys.argv[2]))
        case "lose_the_token":
            lose_the_token()
        case "knock":
            knock()
