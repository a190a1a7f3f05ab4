"""Estimates of the Hessian's diagonal of the mean loss of a batch: Liu et al., https://arxiv.org/abs/2305.14342,
section 2.3. Dropout is off in both.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from haliax import NamedArray
from haliax.util import is_named_array
from jaxtyping import PRNGKeyArray

from lateen_trainer.mesh import ShardingRules, in_place_of
from lateen_trainer.step.derivatives import gradient_of_drawn_labels, hessian_product

GradientsOf = Callable[..., tuple]
"""`elastic.lane_gradients` or `gradients.batch_gradients`, with all arguments but those given here."""


def gauss_newton_bartlett(gradients_of: GradientsOf, model, tokens: jax.Array, *, key: PRNGKeyArray):
    """B · ĝ ⊙ ĝ, where ĝ is the gradient of the mean loss of the batch's B tokens on labels that the model draws.

    Its expectation is the diagonal of the Gauss-Newton matrix, which for a cross entropy is that of Fisher's.

    Args:
        gradients_of: sums a derivative over the batch.
        tokens: [microbatch number, data × batch, position + 1]
        key: of the step.
    """
    token_count = tokens.shape[0] * tokens.shape[1] * (tokens.shape[2] - 1)
    _, gradients, _ = gradients_of(model, tokens, key=key, derivative=gradient_of_drawn_labels)
    return jax.tree.map(lambda g: token_count * jnp.square(g), gradients)


def hutchinson(
    gradients_of: GradientsOf, model, tokens: jax.Array, *, key: PRNGKeyArray, rules: ShardingRules, dtype: jnp.dtype
):
    """u ⊙ (H u) with u from the normal distribution, whose expectation is the diagonal of the Hessian H.

    Args:
        gradients_of: sums a derivative over the batch.
        tokens: [microbatch number, data × batch, position + 1]
        key: of the step.
        dtype: in which the model is computed, and the vector is exact.
    """
    vector = _normal(model, key, rules, dtype)
    _, products, _ = gradients_of(model, tokens, key=None, derivative=hessian_product, vector=vector)
    return jax.tree.map(jnp.multiply, vector, products)


def _normal(model, key: PRNGKeyArray, rules: ShardingRules, dtype: jnp.dtype):
    """Numbers like the model's, and divided like them; they do not depend on the mesh."""
    leaves, structure = jax.tree.flatten(model, is_leaf=is_named_array)

    def draw(number: int, leaf: NamedArray):
        numbers = jax.random.normal(jax.random.fold_in(key, number), leaf.array.shape, jnp.float32)
        return in_place_of(leaf, numbers.astype(dtype).astype(jnp.float32))

    vector = structure.unflatten([draw(i, leaf) for i, leaf in enumerate(leaves)])
    return jax.lax.with_sharding_constraint(vector, rules.shardings(vector))
