"""Three ways to sum the gradients of a GPT-2 over CPU devices of this machine, each device receiving its shard.

    python tests/benchmarks/bench_reduction.py [--shape nano] [--devices 8] [--rounds 7]

- tree: the elastic step's own, an all-to-all and a sum of the pieces in a fixed binary tree.
- integers: order-free. All devices agree on a power of two per parameter by a maximum, round to int32 with as many
  bits as the sum leaves free, and add integers by the backend's reduce-scatter.
- backend: floating-point numbers by the backend's reduce-scatter, in whatever order it takes; the fast step's.

They take turns in one process, each round from another one on. `sent` is what a device sends by the collectives'
definition. The error is the median over the elements of the position embedding, relative to the sum in float64.

The integers here are those of one sum a device. To be free of the number of devices each *lane* would have to be
rounded by one common power of two, so that the maximum over all lanes would be needed before the first is added:
all lanes would be computed twice, or their gradients all be kept.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
from bench_elastic import SHAPES, Case
from jax.sharding import PartitionSpec
from lateen_api.spec import Gpt2Spec
from lateen_trainer.mesh import DATA, ShardingRules, make_mesh, replace_array
from lateen_trainer.models.gpt2 import Gpt2, Gpt2Config
from lateen_trainer.ordered import TreeOrder
from lateen_trainer.step.fsdp import Fsdp
from lateen_trainer.step.microbatch import model_specs, over_data
from machine import machine


class Reduction(NamedTuple):
    """A way to sum: gradients of a device → its shards of their sums, inside shard_map; and the bytes of a sent one."""

    name: str
    function: Callable
    sent: Callable[[int, bool, int], float]
    """(elements, whether divided, devices) → bytes that a device sends."""


def gradient_shapes(case: Case):
    """The model's parameters as shapes."""
    spec = Gpt2Spec(hidden_dim=case.hidden, num_heads=case.heads, num_layers=case.layers, seq_len=case.seq_len)
    return jax.eval_shape(lambda: Gpt2.init(Gpt2Config(spec, case.vocab), key=jax.random.key(0)))


def sum_integers(tree, rules: ShardingRules):
    """The order-free sum. Bits: 31 of an int32's 32, less those by which the sum of all devices is longer."""
    bits = 30 - (rules.data_size - 1).bit_length()

    def leaf(named: hax.NamedArray) -> hax.NamedArray:
        array, axis = named.array, rules.data_axis(named.axes)
        greatest = jax.lax.pmax(jnp.max(jnp.abs(array)), DATA)
        # frexp: greatest < 2 ** exponent, exactly and in any order.
        scale = jnp.ldexp(jnp.float32(1), bits - jnp.frexp(greatest)[1])
        whole = jnp.rint(array * scale).astype(jnp.int32)
        if axis is None:
            total = jax.lax.psum(whole, DATA)
        else:
            total = jax.lax.psum_scatter(whole, DATA, scatter_dimension=axis, tiled=True)
        return replace_array(named, total.astype(jnp.float32) / scale)

    return jax.tree.map(leaf, tree, is_leaf=hax.util.is_named_array)


def reductions(rules: ShardingRules) -> list[Reduction]:
    """The three, in the order of the module's docstring."""
    f32 = jnp.dtype("float32")

    def ring(elements: int, divided: bool, devices: int) -> float:
        return (1 if divided else 2) * 4 * elements * (devices - 1) / devices

    def pieces(elements: int, divided: bool, devices: int) -> float:
        return 4 * elements * (devices - 1) / (devices if divided else 1)

    return [
        Reduction("tree", Fsdp(rules, f32, TreeOrder.HALVES).reduce, pieces),
        Reduction("integers", lambda tree: sum_integers(tree, rules), ring),
        Reduction("backend", Fsdp(rules, f32).reduce, ring),
    ]


def make_gradients(shapes, rules: ShardingRules):
    """[devices, …] of every parameter, divided along the first axis; magnitudes spread as those of gradients do."""

    def on_device():
        key = jax.random.fold_in(jax.random.key(0), jax.lax.axis_index(DATA))
        leaves, structure = jax.tree.flatten(shapes)
        keys = jax.random.split(key, 2 * len(leaves))
        made = [
            jax.random.normal(a, (1, *leaf.shape)) * jnp.exp(2 * jax.random.normal(b, (1, *leaf.shape)))
            for a, b, leaf in zip(keys[0::2], keys[1::2], leaves, strict=True)
        ]
        return structure.unflatten(made)

    return jax.jit(over_data(on_device, rules, in_specs=(), out_specs=PartitionSpec(DATA)))()


def measure(name: str, devices: int, rounds: int) -> None:
    """Prints a line for each reduction."""
    rules = ShardingRules(make_mesh(devices, 1, jax.devices()[:devices]))
    shapes = gradient_shapes(SHAPES[name])
    gradients = make_gradients(shapes, rules)
    exact = np.asarray(gradients.wpe.array, np.float64).sum(0)
    compiled, errors = {}, {}
    for reduction in reductions(rules):

        def on_device(stacked, function=reduction.function):
            return function(jax.tree.map(lambda x: x[0], stacked))

        program = over_data(on_device, rules, in_specs=PartitionSpec(DATA), out_specs=model_specs(shapes, rules))
        compiled[reduction.name] = jax.jit(program).lower(gradients).compile()
        sums = np.asarray(compiled[reduction.name](gradients).wpe.array, np.float64)
        errors[reduction.name] = np.median(np.abs(sums / exact - 1))
    seconds: dict[str, list[float]] = {each: [] for each in compiled}
    names = list(compiled)
    for number in range(rounds):
        for each in names[number % 3 :] + names[: number % 3]:
            began = time.perf_counter()
            jax.block_until_ready(compiled[each](gradients))
            seconds[each].append(time.perf_counter() - began)
    for reduction in reductions(rules):
        sent = sum(
            reduction.sent(leaf.array.size, rules.data_axis(leaf.axes) is not None, devices)
            for leaf in jax.tree.leaves(shapes, is_leaf=hax.util.is_named_array)
        )
        times = seconds[reduction.name]
        memory = compiled[reduction.name].memory_analysis().temp_size_in_bytes
        print(
            f"{name:6} {devices:7} {reduction.name:9} {statistics.median(times) * 1e3:9.1f} {min(times) * 1e3:9.1f}"
            f" {max(times) * 1e3:9.1f} {sent / 1e6:9.2f} {memory / 1e6:9.1f} {errors[reduction.name]:9.1e}",
            flush=True,
        )


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax.config.update("jax_num_cpu_devices", options.devices)
    print(machine())
    print("shape  devices reduction        ms       min       max   sent MB   temp MB     error")
    for name in SHAPES if options.shape == "all" else [options.shape]:
        measure(name, options.devices, options.rounds)


if __name__ == "__main__":
    main()
