"""A small training state with every kind of array that a model has, on any mesh."""

from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

LAYERS, EMBED, MLP = hax.Axis("layers", 2), hax.Axis("embed", 16), hax.Axis("mlp", 24)


def mesh(data: int, model: int = 1, devices: Any = None) -> Mesh:
    """A mesh of data × model devices."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.array(devices[: data * model]).reshape(data, model), ("data", "model"))


def values(seed: int = 0) -> dict[str, np.ndarray]:
    """What the arrays hold, on the host."""
    random = np.random.default_rng(seed)
    return {
        "weight": random.standard_normal((2, 16, 24), dtype=np.float32),
        "bias": random.standard_normal(16, dtype=np.float32),
        "head": random.standard_normal((8, 4)).astype(jnp.bfloat16),
        "whole": random.integers(0, 2**31, (3, 5), dtype=np.int32),
        "count": np.asarray(seed + 1, np.int32),
        "zeros": np.zeros((4, 4), np.float32),
    }


def shardings(over: Mesh) -> dict[str, NamedSharding]:
    """FSDP and tensor parallelism for `weight`, FSDP for `bias`, tensor parallelism for `head`, none for the rest."""
    specs = {
        "weight": PartitionSpec(None, "data", "model"),
        "bias": PartitionSpec("data"),
        "head": PartitionSpec("model"),
    }
    return {name: NamedSharding(over, specs.get(name, PartitionSpec())) for name in values()}


def state(over: Mesh, seed: int = 0) -> dict[str, Any]:
    """The arrays on a mesh: a model with a NamedArray, and an optimizer's state."""
    where = shardings(over)
    arrays = {
        name: jax.make_array_from_callback(value.shape, where[name], lambda index, value=value: value[index])
        for name, value in values(seed).items()
    }
    return {
        "model": {"block": {"weight": hax.named(arrays["weight"], (LAYERS, EMBED, MLP))}, "bias": arrays["bias"]},
        "optimizer": (arrays["head"], arrays["whole"], arrays["count"], arrays["zeros"]),
    }


def template(over: Mesh) -> dict[str, Any]:
    """The same without values."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state(over))


def same(a: Any, b: Any) -> bool:
    """Whether two states hold the same bits, in what this process sees of them."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and x.sharding == y.sharding and _bits(x) == _bits(y) for x, y in leaves)


def _bits(array: jax.Array) -> list[bytes]:
    return [np.asarray(shard.data).tobytes() for shard in array.addressable_shards]
