"""Estimates of the Hessian's diagonal of the mean loss of a batch: Liu et al., https://arxiv.org/abs/2305.14342,
section 2.3. Dropout is off in both.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from haliax import NamedArray
from haliax.util import is_named_array
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import PRNGKeyArray

from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules, replace_array
from lateen_trainer.step.derivatives import gradient_of_drawn_labels, hessian_product
from lateen_trainer.step.microbatch import count_targets

GradientsOf = Callable[..., tuple]
"""`elastic.lane_gradients` or `gradients.batch_gradients`, with all arguments but those given here."""


def gauss_newton_bartlett(gradients_of: GradientsOf, model, batch: Batch, *, key: PRNGKeyArray):
    """B · ĝ ⊙ ĝ, where ĝ is the gradient of the mean loss of the batch's B counted tokens on labels drawn by the model.

    Its expectation is the diagonal of the Gauss-Newton matrix, which for a cross entropy is that of Fisher's.

    Args:
        gradients_of: sums a derivative over the batch.
        batch: arrays of [microbatch number, data × batch, position + 1]
        key: of the step.
    """
    count = count_targets(batch)
    _, gradients, _ = gradients_of(model, batch, key=key, derivative=gradient_of_drawn_labels)
    return jax.tree.map(lambda g: count * jnp.square(g), gradients)


def hutchinson(gradients_of: GradientsOf, model, batch: Batch, *, key: PRNGKeyArray, rules: ShardingRules):
    """u ⊙ (H u) with components of u from {-1, 1}, whose expectation is the diagonal of the Hessian H.

    The paper draws u from the normal distribution. Signs, which are Hutchinson's own choice ("A stochastic estimator
    of the trace of the influence matrix", 1989), give less variance, and are exact in every type.

    Args:
        gradients_of: sums a derivative over the batch.
        batch: arrays of [microbatch number, data × batch, position + 1]
        key: of the step.
    """
    vector = _signs(model, key, rules)
    _, products, _ = gradients_of(model, batch, key=None, derivative=hessian_product, vector=vector)
    return jax.tree.map(jnp.multiply, vector, products)


def _signs(model, key: PRNGKeyArray, rules: ShardingRules):
    """Signs for all of the model's numbers, divided like them; they do not depend on the mesh."""
    leaves, structure = jax.tree.flatten(model, is_leaf=is_named_array)

    def draw(number: int, leaf: NamedArray):
        signs = jax.random.rademacher(jax.random.fold_in(key, number), leaf.array.shape, jnp.float32)
        # Else XLA may lay the signs out as suits the products that they go into, unless they are sent to other devices
        # first, and take another program for these products.
        return replace_array(leaf, with_layout_constraint(signs, Layout(tuple(range(signs.ndim)))))

    vector = structure.unflatten([draw(i, leaf) for i, leaf in enumerate(leaves)])
    return jax.lax.with_sharding_constraint(vector, rules.shardings(vector))
