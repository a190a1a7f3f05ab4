"""Checkpoints beside Orbax: GPT-2 small with AdamW's moments, on eight CPU devices of one process.

    python tests/benchmarks/bench_checkpoint.py [--rounds 5] [--folder FOLDER] [--cold]

Both save and restore the same state in turns, so that both see the same machine. Ours keeps and checks a digest
of every chunk; Orbax does neither. Values are random, as those of a trained model are to a compressor.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from machine import machine

LAYERS, EMBED, MLP, VOCABULARY, POSITIONS = 12, 768, 3072, 50257, 1024
WEIGHTS = {
    "wte": ((VOCABULARY, EMBED), 1),
    "wpe": ((POSITIONS, EMBED), 1),
    "ln_1.weight": ((LAYERS, EMBED), 1),
    "ln_1.bias": ((LAYERS, EMBED), 1),
    "attn.c_attn.weight": ((LAYERS, EMBED, 3 * EMBED), 1),
    "attn.c_attn.bias": ((LAYERS, 3 * EMBED), 1),
    "attn.c_proj.weight": ((LAYERS, EMBED, EMBED), 2),
    "attn.c_proj.bias": ((LAYERS, EMBED), 1),
    "ln_2.weight": ((LAYERS, EMBED), 1),
    "ln_2.bias": ((LAYERS, EMBED), 1),
    "mlp.c_fc.weight": ((LAYERS, EMBED, MLP), 1),
    "mlp.c_fc.bias": ((LAYERS, MLP), 1),
    "mlp.c_proj.weight": ((LAYERS, MLP, EMBED), 2),
    "mlp.c_proj.bias": ((LAYERS, EMBED), 1),
    "ln_f.weight": ((EMBED,), 0),
    "ln_f.bias": ((EMBED,), 0),
}
"""Shape, and the axis that FSDP divides."""


def make_state(seed: int) -> dict[str, dict[str, jax.Array]]:
    """Parameters and both moments, float32, divided over eight devices: 1,493 MB."""
    mesh = Mesh(np.array(jax.devices()), ("data",))
    random = np.random.default_rng(seed)

    def weight(shape: tuple[int, ...], axis: int) -> jax.Array:
        spec = PartitionSpec(*("data" if at == axis else None for at in range(len(shape))))
        return jax.device_put(random.standard_normal(shape, dtype=np.float32), NamedSharding(mesh, spec))

    return {
        part: {name: weight(shape, axis) for name, (shape, axis) in WEIGHTS.items()}
        for part in ("parameters", "mu", "nu")
    }


def timed(action: Callable[[], object]) -> tuple[float, object]:
    """Seconds, and what the action gives."""
    begin = time.perf_counter()
    result = action()
    return time.perf_counter() - begin, result


def forget_files(cold: bool) -> None:
    """Writes dirty pages out, so that no round pays for the one before; `cold` also empties the page cache."""
    os.sync()
    if cold:
        Path("/proc/sys/vm/drop_caches").write_text("3")


def round_of_ours(folder: Path, state, template, cold: bool) -> dict[str, float]:
    """Blocked, save and restore: seconds."""
    checkpoints = Checkpoints(str(folder))
    begin = time.perf_counter()
    blocked, _ = timed(lambda: checkpoints.save(1, state, {"step": 1}))
    checkpoints.wait()
    saved = time.perf_counter() - begin
    forget_files(cold)
    restored, result = timed(lambda: jax.block_until_ready(checkpoints.restore(template)))
    check_equal(result[0], state)  # type: ignore[index]
    return {"blocked": blocked, "save": saved, "restore": restored}


def round_of_orbax(folder: Path, state, template, cold: bool) -> dict[str, float]:
    """Blocked, save and restore: seconds."""
    with ocp.StandardCheckpointer() as checkpointer:
        begin = time.perf_counter()
        blocked, _ = timed(lambda: checkpointer.save(folder / "1", state))
        checkpointer.wait_until_finished()
        saved = time.perf_counter() - begin
        forget_files(cold)
        restored, result = timed(lambda: jax.block_until_ready(checkpointer.restore(folder / "1", template)))
        check_equal(result, state)
    return {"blocked": blocked, "save": saved, "restore": restored}


def check_equal(restored, state) -> None:
    """A fast wrong answer is no answer."""
    for name in ("wte", "mlp.c_proj.weight"):
        assert np.array_equal(restored["nu"][name], state["nu"][name]), name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--cold", action="store_true", help="restore from the disk, not from its cache (needs root)")
    arguments = parser.parse_args()
    state = jax.block_until_ready(make_state(seed=0))
    template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    print(machine())
    print(f"{size / 1e6:,.0f} MB in {len(jax.tree.leaves(state))} arrays, {arguments.rounds} rounds in turns")
    contenders = {"lateen": round_of_ours, "orbax": round_of_orbax}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(arguments.rounds + 1):
        for name, one_round in contenders.items():
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                forget_files(cold=False)
                seconds = one_round(Path(folder), state, template, arguments.cold)
            if number > 0:  # the first warms both up
                times[name].append(seconds)
                print(name, {key: round(value, 3) for key, value in seconds.items()}, flush=True)
    print(f"{'median':10}{'lateen':>12}{'orbax':>12}{'orbax/lateen':>16}")
    for what in ("blocked", "save", "restore"):
        ours, theirs = (statistics.median(one[what] for one in times[name]) for name in contenders)
        print(f"{what:10}{ours:>10.3f} s{theirs:>10.3f} s{theirs / ours:>15.2f}x")


if __name__ == "__main__":
    main()
