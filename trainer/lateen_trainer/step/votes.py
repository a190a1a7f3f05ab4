"""A yes or no on which all processes agree, without waiting for it."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lateen_trainer.mesh import DATA


class Votes:
    """Whether any process wants something (a save, since clocks differ between hosts).

    A vote is one small program among those of the steps: all processes cast theirs at the same place, and read the
    result when it is at hand anyway.
    """

    def __init__(self, mesh: Mesh):
        self._size = mesh.shape[DATA]
        self._sharding = NamedSharding(mesh, PartitionSpec(DATA))
        self._local_size = np.unique(
            [str(index) for index in self._sharding.addressable_devices_indices_map((self._size,)).values()]
        ).size
        self._any = jax.jit(lambda votes: votes.any(), out_shardings=NamedSharding(mesh, PartitionSpec()))

    def cast(self, vote: bool) -> jax.Array:
        """[] bool, true if any process voted so. Reading it waits for the device."""
        mine = np.full(self._local_size, vote)
        return self._any(jax.make_array_from_process_local_data(self._sharding, mine, (self._size,)))
