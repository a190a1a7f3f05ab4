"""Sophia's update. What it needs to know of the curvature is estimated in `step.curvature`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import optimization_barrier

from lateen_trainer.rounding import prevent_fma


class SophiaState(NamedTuple):
    """Running means of gradients and of the Hessian's diagonal."""

    step: jax.Array  # [] int32: updates made
    mu: Any  # like the parameters
    hessian: Any  # like the parameters


def scale_by_sophia(
    b1: float, b2: float, gamma: float, eps: float, update_interval: int
) -> optax.GradientTransformationExtraArgs:
    """clip(m / max(γ·h, ε), 1): Liu et al., https://arxiv.org/abs/2305.14342, algorithm 3.

    m is the running mean of gradients, h that of estimates of the Hessian's diagonal, of which there is one in the
    first step and in every `update_interval`-th after it. `update` is told how to make one: `curvature=…`, a function
    without arguments that gives a tree like the parameters. It is not called in the other steps.
    """

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return SophiaState(jnp.zeros([], jnp.int32), zeros, zeros)

    def update(updates, state, params=None, **extra):
        del params
        gradients = optimization_barrier(updates)
        mu = jax.tree.map(lambda g, m: m + (1 - b1) * (g - m), gradients, state.mu)

        def estimate(hessian):
            # An estimate is a product, which the difference must not be contracted with.
            estimates = jax.tree.map(lambda e: prevent_fma(e, state.step), extra["curvature"]())
            return jax.tree.map(lambda h, e: h + (1 - b2) * (e - h), hessian, estimates)

        hessian = jax.lax.cond(state.step % update_interval == 0, estimate, lambda h: h, state.hessian)
        hessian = optimization_barrier(hessian)
        steps = jax.tree.map(lambda m, h: jnp.clip(m / jnp.maximum(gamma * h, eps), -1, 1), mu, hessian)
        return steps, SophiaState(state.step + 1, mu, hessian)

    return optax.GradientTransformationExtraArgs(init, update)
