"""What is taken of the loss of a microbatch, and summed over the batch: its gradient, or a part of its curvature.

Each function has the arguments

    loss_of: (model, batch, key=…, label_key=…) → loss, a float32 scalar.
    model: parameters, or shards of them.
    vector: like the model; None where the derivative needs none.
    batch: the microbatch.
    key: of the microbatch; None: nothing is random.

and gives the loss and a tree like the model.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from lateen_trainer.data.batch import Batch

Derivative = Callable[[Callable[..., jax.Array], Any, Any, Batch, PRNGKeyArray | None], tuple[jax.Array, Any]]


def gradient(loss_of, model, vector, batch, key):
    """The gradient, with dropout where there is a key."""
    del vector
    return jax.value_and_grad(lambda model: loss_of(model, batch, key=key))(model)


def gradient_of_drawn_labels(loss_of, model, vector, batch, key):
    """The gradient of the loss on labels that the model draws, without dropout."""
    del vector
    return jax.value_and_grad(lambda model: loss_of(model, batch, key=None, label_key=key))(model)


def hessian_product(loss_of, model, vector, batch, key):
    """The Hessian times the vector, without dropout: the derivative of the gradient in the vector's direction
    (Pearlmutter, "Fast exact multiplication by the Hessian", 1994).

    Functions with derivatives of their own (`custom_vjp`) have no second one. But what their derivatives are made of
    has: so the gradient is traced by itself, until nothing of them is left, and the trace is differentiated. Blocks
    are not recomputed, since a trace would keep such functions for that.
    """
    del key

    @jax.jit
    def loss_and_gradient(model):
        return jax.value_and_grad(lambda model: loss_of(without_checkpointing(model), batch, key=None))(model)

    (loss, _), (_, product) = jax.jvp(loss_and_gradient, (model,), (vector,))
    return loss, product


def without_checkpointing(model):
    """A model that keeps the activations of all blocks; what has no blocks is given back as it is."""
    if model is None or model.blocks is None:
        return model
    return eqx.tree_at(lambda m: m.blocks, model, dataclasses.replace(model.blocks, gradient_checkpointing=False))
