"""Lion's update."""

import jax
import jax.numpy as jnp
import optax
from jax.lax import optimization_barrier


def scale_by_lion(b1: float, b2: float) -> optax.GradientTransformation:
    """sign(b1·m + (1 - b1)·g), and then m ← b2·m + (1 - b2)·g: Chen et al., https://arxiv.org/abs/2302.06675,
    algorithm 2. Every sum has one product at most, for the reason given in `adam`."""

    def init(params):
        return optax.ScaleByLionState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params
        gradients = optimization_barrier(updates)
        signs = jax.tree.map(lambda g, m: jnp.sign(m + (1 - b1) * (g - m)), gradients, state.mu)
        mu = jax.tree.map(lambda g, m: m + (1 - b2) * (g - m), gradients, state.mu)
        return signs, optax.ScaleByLionState(optax.safe_increment(state.count), mu)

    return optax.GradientTransformation(init, update)
