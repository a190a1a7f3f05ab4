"""Batches from this process's memory onto the mesh."""

from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lateen_trainer.mesh import DATA, ShardingRules


class BatchPlacement:
    """Where the rows of a batch lie: row r is in microbatch r // width, and there on the device of r % width.

    Args:
        rules: the mesh.
        batch_size: sequences of a batch over all processes.
        microbatches: pieces into which it is cut, one after the other in time.
    """

    def __init__(self, rules: ShardingRules, batch_size: int, microbatches: int):
        self._microbatches = microbatches
        self._width = batch_size // microbatches
        self._sharding = NamedSharding(rules.mesh, PartitionSpec(None, DATA))
        indices = self._sharding.addressable_devices_indices_map((microbatches, self._width)).values()
        columns = np.unique(np.concatenate([np.arange(self._width)[index[1]] for index in indices if index]))
        self.rows = (np.arange(microbatches)[:, None] * self._width + columns).reshape(-1)
        """Rows of the global batch that this process's devices hold."""

    def place(self, rows: Any) -> Any:
        """A tree of arrays [rows of this process, …] → [microbatches, width, …], divided over `data`."""
        return jax.tree.map(self._place, rows)

    def _place(self, rows: np.ndarray) -> jax.Array:
        local = rows.reshape(self._microbatches, -1, *rows.shape[1:])
        shape = (self._microbatches, self._width, *rows.shape[1:])
        return jax.make_array_from_process_local_data(self._sharding, local, shape)
