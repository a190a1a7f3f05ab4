"""A stack of equal blocks, run one after the other by one compiled body."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import equinox as eqx
import haliax as hax
import jax
import jax.numpy as jnp
from haliax import Axis, NamedArray
from haliax.util import is_named_array
from jaxtyping import PRNGKeyArray

Block = TypeVar("Block", bound=eqx.Module)


class Stack(eqx.Module, Generic[Block]):
    """Blocks whose parameters lie in arrays with a leading axis of layers.

    The difference to haliax.nn.Stacked: a block's arrays may be shards, shorter than their axes say, because
    FSDP gathers them only inside the loop; haliax checks shapes when it takes the arrays apart.
    """

    blocks: Block  # every array has the axis Layers first
    Layers: Axis = eqx.field(static=True)
    gradient_checkpointing: bool = eqx.field(static=True)

    @staticmethod
    def init(
        Layers: Axis,
        init_block: Callable[[PRNGKeyArray], Block],
        *,
        key: PRNGKeyArray,
        gradient_checkpointing: bool,
    ) -> "Stack[Block]":
        blocks = hax.vmap(init_block, Layers)(jax.random.split(key, Layers.size))
        return Stack(blocks, Layers, gradient_checkpointing)

    def fold(self, step: Callable[[Block, Any, jax.Array], Any], x: Any) -> Any:
        """x = step(block, x, number of the block) for one block after the other."""

        def body(x, inputs):
            number, slices = inputs
            block = jax.tree.map(_without_layer_axis, slices, is_leaf=is_named_array)
            return step(block, x, number), None

        if self.gradient_checkpointing:
            body = jax.checkpoint(body, prevent_cse=False)
        return jax.lax.scan(body, x, (jnp.arange(self.Layers.size), self.blocks))[0]


def _without_layer_axis(slice_of_stack: NamedArray) -> NamedArray:
    """Scanning has taken the first axis off the array, but not off its names."""
    with hax.enable_shape_checks(False):
        return NamedArray(slice_of_stack.array, slice_of_stack.axes[1:])
