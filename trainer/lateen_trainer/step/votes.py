"""A yes or no on which all processes agree, without waiting for it."""

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lateen_trainer.mesh import ShardingRules
from lateen_trainer.step.placement import BatchPlacement


class Votes:
    """Whether any process wants something (a save, since clocks differ between hosts).

    A vote is one small program among those of the steps: all processes cast theirs at the same place, and read the
    result when it is at hand anyway.
    """

    def __init__(self, rules: ShardingRules):
        self._placement = BatchPlacement(rules, rules.data_size, microbatches=1)
        self._any = jax.jit(lambda votes: votes.any(), out_shardings=NamedSharding(rules.mesh, PartitionSpec()))

    def cast(self, vote: bool) -> jax.Array:
        """[] bool, true if any process voted so. Reading it waits for the device."""
        return self._any(self._placement.place(np.full(self._placement.rows.size, vote)))
