"""The optimizer of a spec, as a chain of optax transformations."""

import jax
import jax.numpy as jnp
import optax
from haliax import NamedArray
from haliax.util import is_named_array
from lateen_api.spec import OptimizerSpec

from lateen_trainer.mesh import LAYERS, in_place_of
from lateen_trainer.optim.adam import scale_by_adam
from lateen_trainer.optim.schedules import learning_rate_schedule
from lateen_trainer.rounding import never_contracted


def make_optimizer(spec: OptimizerSpec, num_steps: int) -> optax.GradientTransformationExtraArgs:
    """AdamW with clipping by global norm and the spec's schedule. `update` is told the norm: `grad_norm=…`."""
    clip = optax.identity() if spec.max_grad_norm is None else clip_to_norm(spec.max_grad_norm)
    rate = learning_rate_schedule(spec, num_steps)
    transformation = optax.chain(
        clip,
        scale_by_adam(spec.beta1, spec.beta2, spec.epsilon),
        optax.add_decayed_weights(spec.weight_decay, mask=is_decayed),
        # Behind a barrier, for the reason given in `adam`.
        optax.scale_by_learning_rate(lambda count: jax.lax.optimization_barrier(rate(count))),
    )
    return optax.with_extra_args_support(transformation)


def clip_to_norm(max_norm: float) -> optax.GradientTransformationExtraArgs:
    """Scales gradients down to a global norm of `max_norm` (Pascanu et al., https://arxiv.org/abs/1211.5063).

    Unlike `optax.clip_by_global_norm` it is told the norm, since whoever reduced the gradients knows in which order
    to sum their squares.
    """

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None, **extra):
        del params
        grad_norm: jax.Array = extra["grad_norm"]
        factor = jnp.where(grad_norm < max_norm, 1.0, max_norm / grad_norm)
        # What Adam does next subtracts from it.
        return jax.tree.map(lambda g: never_contracted(g * factor, grad_norm), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def is_decayed(model):
    """Which parameters decay: matrices do, biases and the weights of norms do not.

    What counts is the role, not the rank of the array: a bias of attention has the axes [qkv, heads, head size],
    and all of a stack's arrays have the axis of layers besides. Parameters whose name is `bias`, and those with a
    single axis besides that of layers, are exempt.
    """

    def decays(path, leaf: NamedArray):
        is_bias = bool(path) and getattr(path[-1], "name", None) == "bias"
        axes = [axis for axis in leaf.axes if axis.name != LAYERS]
        return in_place_of(leaf, not is_bias and len(axes) > 1)

    return jax.tree_util.tree_map_with_path(decays, model, is_leaf=is_named_array)
