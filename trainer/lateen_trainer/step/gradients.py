"""Loss and gradients of a batch, accumulated over its microbatches: the fast mode.

Sums over devices are the backend's; they give the same bits on the same number of devices only.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec
from jaxtyping import PRNGKeyArray

from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import DATA, ShardingRules
from lateen_trainer.models.layers import cast
from lateen_trainer.step.derivatives import Derivative, gradient
from lateen_trainer.step.fsdp import Fsdp
from lateen_trainer.step.microbatch import (
    count_targets,
    divisor_of,
    layerwise_loss,
    model_specs,
    over_data,
    whole_loss,
    with_frozen,
)


def batch_gradients(
    model,
    batch: Batch,
    *,
    key: PRNGKeyArray | None,
    rules: ShardingRules,
    fsdp: Fsdp,
    gather_once: bool,
    derivative: Derivative = gradient,
    vector=None,
    frozen=None,
):
    """Mean loss of a batch in nats per counted token, its gradients divided like the model, and their global norm.

    Args:
        model: what is trained, divided over the mesh by `rules`.
        batch: arrays of [microbatch number, data × batch, position + 1], divided over `data` along the second axis.
        key: for dropout; None: there is none.
        gather_once: gather all parameters before the first microbatch and reduce the gradients behind the last,
            rather than layer by layer in each microbatch. Faster where a whole model and its gradient fit.
        derivative: what is summed in place of the gradient.
        vector: of the derivative, divided like the model.
        frozen: the rest of the model, divided likewise (`models.lora.split_trained`). It has no gradient.
    """
    divisor = divisor_of(count_targets(batch))
    microbatches = _whole_microbatches if gather_once else _layerwise_microbatches

    def on_device(parameters, batch, key, counted):
        if key is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(DATA))
        divided_by = divisor if counted is None else counted
        loss, gradients = microbatches(derivative, parameters, batch, key, fsdp, divided_by)
        return jax.lax.psum(loss, DATA), gradients

    if rules.mesh.size == 1 and rules.platform == "cpu":  # elsewhere kernels need the mesh
        loss, gradients = microbatches(derivative, (model, vector, frozen), batch, key, fsdp, divisor)
    else:
        specs = model_specs(model, rules)
        loss, gradients = over_data(
            on_device,
            rules,
            in_specs=(
                (specs, model_specs(vector, rules), model_specs(frozen, rules)),
                PartitionSpec(None, DATA),
                PartitionSpec(),
                PartitionSpec(),
            ),
            out_specs=(PartitionSpec(), specs),
        )((model, vector, frozen), batch, key, None if isinstance(divisor, int) else divisor)
    return loss, gradients, optax.tree.norm(gradients)


def batch_loss(
    model, batch: Batch, weights: jax.Array, *, rules: ShardingRules, fsdp: Fsdp, gather_once: bool
) -> jax.Array:
    """Sum of the losses of a batch in nats, without dropout and without gradients.

    Args:
        batch: arrays of [microbatch number, data × batch, position + 1], divided over `data` along the second axis.
            All microbatches are worked on at once.
        weights: [microbatch number, data × batch] factors of the sequences' losses, divided likewise.
    """

    def local(model, batch, weights):
        batch, weights = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), batch), weights.reshape(-1)
        if gather_once:
            return whole_loss(fsdp.gather(model), batch, weights, key=None)
        return layerwise_loss(model, batch, weights, key=None, fsdp=fsdp)

    if rules.mesh.size == 1 and rules.platform == "cpu":  # elsewhere kernels need the mesh
        return local(model, batch, weights)
    return over_data(
        lambda *inputs: jax.lax.psum(local(*inputs), DATA),
        rules,
        in_specs=(model_specs(model, rules), PartitionSpec(None, DATA), PartitionSpec(None, DATA)),
        out_specs=PartitionSpec(),
    )(model, batch, weights)


def _whole_microbatches(derivative: Derivative, shards, batch: Batch, key, fsdp: Fsdp, divisor: jax.Array | int):
    def loss_of(model, batch, **keys):
        return whole_loss(model, batch, None, **keys) / divisor

    loss, gradients = _accumulate(derivative, loss_of, fsdp.gather(shards), batch, key)
    return loss, fsdp.reduce(gradients)


def _layerwise_microbatches(derivative: Derivative, shards, batch: Batch, key, fsdp: Fsdp, divisor: jax.Array | int):
    def loss_of(shards, batch, **keys):
        return layerwise_loss(shards, batch, None, fsdp=fsdp, **keys) / divisor

    return _accumulate(derivative, loss_of, shards, batch, key)


def _accumulate(derivative: Derivative, loss_of: Callable, parameters, batch: Batch, key: PRNGKeyArray | None):
    """Sums of loss and float32 gradients over the microbatches of a batch, one after the other.

    Args:
        parameters: what is trained, the derivative's vector, and the rest of the model.
    """
    trained, vector, frozen = parameters
    loss_of = with_frozen(loss_of, frozen)

    def add(carry, inputs):
        number, microbatch = inputs
        microbatch_key = None if key is None else jax.random.fold_in(key, number)
        loss, gradients = derivative(loss_of, trained, vector, microbatch, microbatch_key)
        return jax.tree.map(jnp.add, carry, (loss, cast(gradients, jnp.float32))), None

    zeros = (jnp.float32(0), jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), trained))
    count = batch.tokens.shape[0]
    if count == 1:
        return add(zeros, (0, jax.tree.map(lambda x: x[0], batch)))[0]
    return jax.lax.scan(add, zeros, (jnp.arange(count), batch))[0]
