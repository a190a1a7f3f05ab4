"""One of several processes that save and restore together. Started by test_processes with its orders in argv.

    worker.py PROCESS COUNT PORT DEVICES ORDERS

ORDERS is JSON: a list of calls of the functions below, each [name, arguments]. Prints a line of JSON a call.
"""

import json
import os
import sys

import jax
import jax.numpy as jnp
import tensorstore as ts
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.errors import TrainerError
from states import mesh, same, state, template

ROWS = 8192, 1024


def agree(ok: bool) -> bool:
    """Whether it went well for all."""
    return bool(multihost_utils.process_allgather(jnp.asarray(ok)).all())


def open_checkpoints(folder: str, **options) -> Checkpoints:
    """As the trainer opens them."""
    together = {"barrier": multihost_utils.sync_global_devices, "agree": agree} if jax.process_count() > 1 else {}
    return Checkpoints(
        folder, process_index=jax.process_index(), process_count=jax.process_count(), **together, **options
    )


def save(folder: str, steps: list[int], model: int) -> None:
    """Saves a small state at each step, as soon as the one before it is on its way."""
    checkpoints = open_checkpoints(folder)
    for step in steps:
        checkpoints.save(step, state(mesh(jax.device_count() // model, model), seed=step), {"step": step})
    checkpoints.close()


def restore(folder: str, model: int) -> dict:
    """Which step came back, and whether it has the values that were saved at it."""
    over = mesh(jax.device_count() // model, model)
    restored, metadata = open_checkpoints(folder).restore(template(over)) or (None, {})
    return {**metadata, "same": same(restored, state(over, seed=metadata["step"]))}


def save_rows(folder: str) -> None:
    """Saves 32 MiB, divided by rows."""
    checkpoints = open_checkpoints(folder)
    checkpoints.save(1, {"rows": rows()}, {}, block=True)


def restore_rows(folder: str) -> dict:
    """Bytes that this process reads to restore its rows."""
    wanted = {"rows": jax.ShapeDtypeStruct(ROWS, jnp.float32, sharding=rows().sharding)}
    checkpoints = open_checkpoints(folder)
    before = bytes_read()
    restored, _ = checkpoints.restore(wanted) or (None, None)
    return {"bytes": bytes_read() - before, "same": same(restored, {"rows": rows()})}


def restore_and_save_on(folder: str) -> None:
    """Takes up the newest checkpoint, says which, and saves step after step until it is killed."""
    checkpoints = open_checkpoints(folder)
    over = mesh(jax.device_count())

    def state_at(step: int) -> dict:
        return {"small": state(over, seed=step), "rows": rows() + step}

    restored, metadata = checkpoints.restore(state_at(0)) or (None, {"step": 0})
    step = metadata["step"]
    assert restored is None or same(restored, state_at(step)), f"step {step} has other values"
    print(json.dumps({"restored": step}), flush=True)
    while True:
        step += 1
        now = state_at(step)
        print(json.dumps({"saving": step}), flush=True)
        checkpoints.save(step, now, {"step": step}, block=True)
        print(json.dumps({"committed": step}), flush=True)


def lose_a_peer(folder: str) -> dict:
    """The last process vanishes in the middle of a save."""
    checkpoints = open_checkpoints(folder, timeout=2.0)
    checkpoints.save(5, state(mesh(jax.device_count())), {"step": 5}, block=True)
    multihost_utils.sync_global_devices("one is saved")
    if jax.process_index() == jax.process_count() - 1:
        os._exit(9)
    checkpoints.save(6, state(mesh(jax.device_count())), {"step": 6})
    try:
        checkpoints.wait()
    except TrainerError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    else:
        result = {"error": None}
    print(json.dumps(result), flush=True)
    os._exit(0)  # jax would wait for the lost one


def rows() -> jax.Array:
    sharding = NamedSharding(mesh(jax.device_count()), PartitionSpec("data"))
    return jax.jit(lambda: jnp.arange(8192 * 1024, dtype=jnp.float32).reshape(ROWS), out_shardings=sharding)()


def bytes_read() -> int:
    metrics = ts.experimental_collect_matching_metrics("/tensorstore/kvstore/file/bytes_read")
    return sum(int(value["value"]) for metric in metrics for value in metric["values"])


def main() -> None:
    process, count, port, devices = map(int, sys.argv[1:5])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    if count > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", count, process, cluster_detection_method="deactivate")
    for name, arguments in json.loads(sys.argv[5]):
        print(json.dumps(globals()[name](**arguments)), flush=True)


if __name__ == "__main__":
    main()
