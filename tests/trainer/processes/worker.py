"""A trainer process reduced to its life: every step is one sum over all devices of all processes.

It is started by `gang.Gang`, with a job of steps and mishaps as JSON in WORKER_PLAN.
"""

import ctypes
import json
import logging
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from lateen_api.environment import ProcessEnvironment
from lateen_api.progress import Phase
from lateen_api.spec import RecoverySpec
from lateen_trainer.errors import DataError
from lateen_trainer.processes import Lifecycle, leave


def main() -> None:
    """Runs the plan."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    plan = json.loads(os.environ["WORKER_PLAN"])
    environment = ProcessEnvironment.from_environ(os.environ)
    with Lifecycle(environment, ends_process=True) as life:
        peers = life.join(RecoverySpec.model_validate(plan["recovery"]), devices_per_host=plan["devices"])
        if plan.get("tokenize"):
            life.beat(Phase.TOKENIZING, 0)
            print("tokenizing", flush=True)
            time.sleep(plan["tokenize"])
        train(life, peers.process_id, plan, Path(environment.run_dir))
    leave(life.exit_code)


def train(life: Lifecycle, process: int, plan: dict, run_dir: Path) -> None:
    """Adds up over all devices, step by step, and stops when told."""
    devices = np.array(jax.devices())
    sharding = NamedSharding(Mesh(devices, ("device",)), PartitionSpec("device"))
    x = jax.make_array_from_callback((devices.size,), sharding, lambda _: np.ones(1, np.float32))
    step_function = jax.jit(lambda x: x * 0 + x.sum() / devices.size)
    life.beat(Phase.COMPILING, 0)
    for step in range(plan["steps"]):
        mishap(plan.get("mishaps", {}).get(f"{process}@{step}"))
        x = jax.block_until_ready(step_function(x))
        time.sleep(plan["step_seconds"])
        life.beat(Phase.TRAINING, step + 1)
        print(f"step {step + 1}", flush=True)
        if life.should_stop():
            life.beat(Phase.SAVING, step + 1)
            time.sleep(plan.get("save_seconds", 0))
            (run_dir / f"saved-{process}").write_text(str(step + 1))
            life.committed(f"step-{step + 1}", step + 1)
            life.saved()
            return
    time.sleep(plan.get("linger", {}).get(str(process), 0))
    assert np.asarray(jnp.asarray(x.addressable_shards[0].data))[0] == 1.0


def mishap(kind: str | None) -> None:
    """What the plan says goes wrong before a step."""
    match kind:
        case "bad data":
            raise DataError("part-3.jsonl.gz line 17 is no JSON")
        case "exception":
            raise RuntimeError("something broke")
        case "hang":
            time.sleep(1000)
        case "hang with Python's lock":
            ctypes.PyDLL(None).sleep(1000)
        case "native code":
            mutex = ctypes.create_string_buffer(64)
            for _ in range(2):  # waits for itself the second time; signals do not end that, unlike a sleep
                ctypes.CDLL(None).pthread_mutex_lock(mutex)


if __name__ == "__main__":
    main()
