"""One of several processes that read and write a model together. Started with its orders in argv.

    worker.py PROCESS COUNT PORT ORDERS

ORDERS is JSON: a list of calls of the functions below, each [name, arguments]. Prints a line of JSON per call.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from lateen_api.hugging_face.config import read_model
from lateen_api.hugging_face.folder import ModelFolder
from lateen_api.spec import AdamWSpec
from lateen_trainer.checkpoint.state import named_leaves
from lateen_trainer.hugging_face import exchange
from lateen_trainer.hugging_face.destination import Destination
from lateen_trainer.hugging_face.export import ExportedModel, Together, export_model
from lateen_trainer.hugging_face.imported import Imported
from lateen_trainer.hugging_face.load import load_arrays
from lateen_trainer.hugging_face.match import match
from lateen_trainer.hugging_face.weights import Weights
from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.families import FAMILIES, init_model, make_config
from lateen_trainer.optim import make_optimizer

FIELD = "spec.trainer.initializeFrom"


def load(
    url: str, gap: int | None = None, smallest: int = exchange.SMALLEST
) -> tuple[Any, Weights, Imported, dict[str, float]]:
    """The model of a folder over all devices, and what reading it took. Arrays of `smallest` bytes are exchanged."""
    exchange.SMALLEST = smallest
    folder = ModelFolder(url, FIELD)
    config = folder.read_json("config.json")
    assert config is not None
    spec = read_model(config)
    made = make_config(spec, config["vocab_size"])
    shapes = jax.eval_shape(lambda: init_model(made, key=jax.random.key(0)))
    shardings = ShardingRules(make_mesh(jax.device_count(), 1)).shardings(shapes)
    template = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes, shardings
    )
    weights = Weights(folder, gap=gap)
    sources = match(weights, FAMILIES[spec.type].tensors, named_leaves(template))
    multihost_utils.sync_global_devices("ready")
    before, read_before, began = peak_bytes(), weights.traffic.bytes_read, time.perf_counter()
    arrays = load_arrays(weights, sources)
    share = sum(shard.data.nbytes for array in arrays for shard in array.addressable_shards)
    took = {
        "bytes": weights.traffic.bytes_read - read_before,
        "reads": weights.traffic.reads,
        "seconds": time.perf_counter() - began,
        "peak": peak_bytes(),
        "before": before,
        "share": share,
    }
    return (
        jax.tree.unflatten(jax.tree.structure(template), arrays),
        weights,
        Imported.of(weights, sources, config),
        took,
    )


def read(url: str, gap: int | None = None, smallest: int = exchange.SMALLEST) -> dict:
    """Reads a model. `share`: bytes of the parameters on this process; `peak`: of its memory."""
    return load(url, gap, smallest)[3]


def start(url: str) -> dict:
    """Makes the state of a training run that begins with a model. `share`: bytes of the state on this process."""
    model, _, _, took = load(url)
    optimizer = make_optimizer(AdamWSpec(), 100)
    shardings = ShardingRules(make_mesh(jax.device_count(), 1)).shardings(jax.eval_shape(optimizer.init, model))
    state = jax.block_until_ready(jax.jit(optimizer.init, out_shardings=shardings)(model))
    share = sum(shard.data.nbytes for array in jax.tree.leaves(state) for shard in array.addressable_shards)
    return {**took, "share": took["share"] + share, "peak": peak_bytes()}


def copy(url: str, target: str, file_bytes: int, smallest: int = exchange.SMALLEST) -> dict:
    """Reads a model and writes it again, together."""
    model, _, imported, _ = load(url, smallest=smallest)
    spec = read_model(imported.config)
    together = Together(jax.process_index(), jax.process_count(), agree) if jax.process_count() > 1 else Together()
    about = ExportedModel(spec, imported.config["vocab_size"], "bytes", 256, "# Card\n", imported)
    export_model(
        model, about, Destination(target, field="spec.export.huggingFace"), file_bytes=file_bytes, together=together
    )
    return {"peak": peak_bytes()}


def agree(ok: bool) -> bool:
    """Whether it went well for all."""
    return bool(multihost_utils.process_allgather(jnp.asarray(np.bool_(ok))).all())


def peak_bytes() -> int:
    """Most memory that this process has had. Not ru_maxrss: that begins with what its parent has."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    process, count, port = map(int, sys.argv[1:4])
    jax.config.update("jax_platforms", "cpu")
    if count > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", count, process, cluster_detection_method="deactivate")
    for name, arguments in json.loads(sys.argv[4]):
        print(json.dumps(globals()[name](**arguments)), flush=True)


if __name__ == "__main__":
    main()
