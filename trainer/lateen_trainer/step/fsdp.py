"""Shards to whole parameters and gradients back to shards, inside shard_map over the data axis.

A parameter that is divided over `data` is gathered before use, in the compute type; its gradient is summed over
the devices in float32, each device receiving its shard (reduce-scatter). A parameter that is on every device has
its gradient summed alone.
"""

import jax
import jax.numpy as jnp
from haliax import NamedArray
from haliax.util import is_named_array

from lateen_trainer.mesh import DATA, ShardingRules, replace_array
from lateen_trainer.ordered import TreeOrder, sum_over_data


class Fsdp:
    """Gathers and reduces pytrees of NamedArrays by the sharding rules, in the given compute type.

    Args:
        order: of the sums over devices; None: the backend's own, which may be faster.
    """

    def __init__(self, rules: ShardingRules, compute_dtype: jnp.dtype, order: TreeOrder | None = None):
        self._rules = rules
        self._compute_dtype = compute_dtype
        self._order = order
        self._gather_with_gradient_leaf = jax.custom_vjp(self._gather_leaf, nondiff_argnums=(1,))
        self._gather_with_gradient_leaf.defvjp(
            lambda array, axis: (self._gather_leaf(array, axis), None),
            lambda axis, _, gradient: (self._reduce_leaf(gradient, axis),),
        )

    def gather(self, tree):
        """Whole parameters in the compute type from this device's shards."""
        return self._map(self._gather_leaf, tree)

    def reduce(self, tree):
        """This device's shards of the sum over devices of whole gradients, in float32."""
        return self._map(self._reduce_leaf, tree)

    def gather_with_gradient(self, tree):
        """`gather` whose derivative is `reduce`: for parameters that are gathered where they are used."""
        return self._map(self._gather_with_gradient_leaf, tree)

    def _map(self, function, tree):
        def leaf(named: NamedArray) -> NamedArray:
            return replace_array(named, function(named.array, self._rules.data_axis(named.axes)))

        return jax.tree.map(leaf, tree, is_leaf=is_named_array)

    def _gather_leaf(self, array: jax.Array, axis: int | None) -> jax.Array:
        array = array.astype(self._compute_dtype)
        whole = array if axis is None else jax.lax.all_gather(array, DATA, axis=axis, tiled=True)
        return whole if self._order is None else jax.lax.optimization_barrier(whole)

    def _reduce_leaf(self, gradient: jax.Array, axis: int | None) -> jax.Array:
        if self._order is not None:
            # Behind the barrier, so that what made the gradient is compiled without regard to what becomes of it.
            return sum_over_data(jax.lax.optimization_barrier(gradient), axis, self._rules, self._order)
        gradient = gradient.astype(jnp.float32)
        if self._rules.data_size == 1:
            return gradient
        if axis is None:
            return jax.lax.psum(gradient, DATA)
        return jax.lax.psum_scatter(gradient, DATA, scatter_dimension=axis, tiled=True)
