"""The mesh of devices, and which named axes of parameters and activations are divided over it.

The mesh is data × model. Batches are divided over `data`; parameters and optimizer state too (FSDP: Rajbhandari
et al., https://arxiv.org/abs/1910.02054). Layers are divided over `model` (tensor parallelism: Shoeybi et al.,
https://arxiv.org/abs/1909.08053).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import haliax as hax
import jax
import numpy as np
from haliax import Axis, NamedArray
from jax.sharding import Mesh, NamedSharding, PartitionSpec

DATA = "data"
MODEL = "model"
LAYERS = "layers"


def make_mesh(data: int, model: int, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of `data` × `model` devices. Devices of one process lie together, and the model axis is the inner
    one, so that tensor parallelism stays within a host where it can."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.array(devices).reshape(data, model), (DATA, MODEL))


@dataclass(frozen=True)
class ShardingRules:
    """Where each parameter's axes go.

    A parameter is divided over `data` along its FSDP axis; one that lacks it (a bias of the MLP, say) along the
    largest other axis that can be divided, so that no device holds a whole parameter.
    """

    mesh: Mesh
    fsdp_axis: str = "embed"
    tensor_axes: tuple[str, ...] = ("mlp", "heads")
    most_data: int | None = None
    """Greatest size of the data axis that the run may get: with it a parameter is divided along the same axis at
    every width, and sums over its parts are the same sums. None: the mesh's own."""

    @property
    def data_size(self) -> int:
        """Devices along the data axis."""
        return self.mesh.shape[DATA]

    @property
    def model_size(self) -> int:
        """Devices along the model axis."""
        return self.mesh.shape[MODEL]

    @property
    def platform(self) -> str:
        """Of the mesh's devices: cpu, gpu or tpu."""
        return self.mesh.devices.flat[0].platform

    def data_axis(self, axes: Sequence[Axis]) -> int | None:
        """Index of the axis that is divided over `data`; None: the parameter is on every device.

        The layer axis never counts, so a parameter has the same answer alone and in a stack of layers.
        """
        axis = self.divisible_axis(axes)
        if axis is None or self.data_size == 1 or self.parts(axes[axis]) % self.data_size:
            return None
        return axis

    def divisible_axis(self, axes: Sequence[Axis]) -> int | None:
        """Index of the axis that is divided over `data` at every width that divides it; None: there is none."""
        parts = [1 if axis.name == LAYERS else self.parts(axis) for axis in axes]
        most = max(parts, default=1)
        if most == 1:
            return None
        free = [i for i in range(len(axes)) if parts[i] == most]
        preferred = [i for i in free if axes[i].name == self.fsdp_axis]
        untouched = [i for i in free if axes[i].name not in self.tensor_axes]
        candidates = preferred or untouched or free
        return max(candidates, key=lambda i: axes[i].size)

    def spec(self, axes: Sequence[Axis]) -> PartitionSpec:
        """How an array with these axes is divided over the mesh."""
        data = self.data_axis(axes)
        parts: list[object] = []
        for i, axis in enumerate(axes):
            names = []
            if self.model_size > 1 and axis.name in self.tensor_axes:
                names.append(MODEL)
            if i == data:
                names.append(DATA)
            parts.append(tuple(names) if len(names) > 1 else (names[0] if names else None))
        # As jax itself writes the layouts of results: one written otherwise counts as another, and compiles again.
        while parts and parts[-1] is None:
            parts.pop()
        return PartitionSpec(*parts)

    def data_spec(self, axes: Sequence[Axis]) -> PartitionSpec:
        """The part of `spec` that concerns the data axis alone, as shard_map over `data` wants it."""
        data = self.data_axis(axes)
        return PartitionSpec(*(DATA if i == data else None for i in range(len(axes))))

    def sharding(self, leaf: Any) -> NamedSharding:
        """The sharding of one leaf of the training state; arrays without names are on every device."""
        axes = leaf.axes if isinstance(leaf, NamedArray) else ()
        return NamedSharding(self.mesh, self.spec(axes))

    def shardings(self, tree):
        """`sharding` of every leaf of a pytree with NamedArrays; a tree of the same structure."""
        return jax.tree.map(
            lambda leaf: replace_array(leaf, self.sharding(leaf)), tree, is_leaf=hax.util.is_named_array
        )

    def parts(self, axis: Axis) -> int:
        """Into how many equal parts an axis can be divided over `data`, up to the greatest width."""
        already = self.model_size if axis.name in self.tensor_axes else 1
        return math.gcd(axis.size // already, self.most_data or self.data_size) if axis.size % already == 0 else 1


def replace_array(leaf, value):
    """`value` in the place of the array of `leaf`: keeps the structure of a tree of NamedArrays."""
    if isinstance(leaf, NamedArray):
        return jax.tree.unflatten(jax.tree.structure(leaf), [value])
    return value
