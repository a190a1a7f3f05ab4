"""The optimizer of a spec, as a chain of optax transformations."""

import jax
import optax
from haliax import NamedArray
from haliax.util import is_named_array
from lateen_api.spec import OptimizerSpec

from lateen_trainer.mesh import LAYERS, in_place_of
from lateen_trainer.optim.schedules import learning_rate_schedule


def make_optimizer(spec: OptimizerSpec, num_steps: int) -> optax.GradientTransformation:
    """AdamW with clipping by global norm and the spec's schedule."""
    clip = optax.identity() if spec.max_grad_norm is None else optax.clip_by_global_norm(spec.max_grad_norm)
    return optax.chain(
        clip,
        optax.scale_by_adam(b1=spec.beta1, b2=spec.beta2, eps=spec.epsilon),
        optax.add_decayed_weights(spec.weight_decay, mask=is_decayed),
        optax.scale_by_learning_rate(learning_rate_schedule(spec, num_steps)),
    )


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
