"""Adam's running means, written so that their bits do not depend on how parameters are divided."""

import jax
import jax.numpy as jnp
import optax
from jax.lax import optimization_barrier


def scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, https://arxiv.org/abs/1412.6980), with the state of `optax.scale_by_adam`.

    The means are m + (1 - b)·(g - m), not b·m + (1 - b)·g. Compilers contract a product and a sum to one operation
    with one rounding; in a sum of two products they may take either, and XLA takes another for shards of another
    length. Here every sum has one product at most. For the same reason what is the same for all elements is computed
    apart from the loops over them.
    """

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(jnp.zeros([], jnp.int32), zeros, zeros)

    def update(updates, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        gradients = optimization_barrier(updates)
        mu = jax.tree.map(lambda g, m: m + (1 - b1) * (g - m), gradients, state.mu)
        nu = jax.tree.map(lambda g, v: v + (1 - b2) * (g * g - v), gradients, state.nu)
        mu_part, nu_part = optimization_barrier((1 - b1**count, 1 - b2**count))
        scaled = jax.tree.map(lambda m, v: m / mu_part / (jnp.sqrt(v / nu_part) + eps), mu, nu)
        return scaled, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)
