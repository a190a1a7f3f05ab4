"""Loss and gradients of a batch by lanes: the elastic mode, equal to the bit on any power of two of devices.

A lane is a microbatch of one fixed shape. Lane j · D + d is the j-th of device d of D. Three things make the bits
independent of D:

- The program of a lane is the same wherever it runs. It is the body of a loop of at least two trips (a loop of one
  would be unrolled and fused with what surrounds it), optimization barriers part it from the rest, and no product
  of its last operations is contracted with the sum that it goes into (`rounding`).
- Gradients of lanes are added in one binary tree over the lane numbers (`ordered`). Where parameters are gathered
  once a step, each device first adds all of its own lanes, which are those that agree in the low bits of their
  number: the tree joins halves. Where they are gathered layer by layer, the devices add theirs within each
  microbatch, and the tree joins neighbours.
- Dropout depends on the number of the lane, never on that of a device or process.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.lax import optimization_barrier
from jax.sharding import PartitionSpec
from jaxtyping import PRNGKeyArray

from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import DATA, ShardingRules
from lateen_trainer.models.layers import cast
from lateen_trainer.ordered import TreeOrder, global_norm, sum_over_data, tree_reduce, tree_reduce_over_time
from lateen_trainer.rounding import prevent_fma
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


def order_of_lanes(*, gather_once: bool) -> TreeOrder:
    """Which lanes the tree joins first."""
    return TreeOrder.HALVES if gather_once else TreeOrder.NEIGHBOURS


def lane_gradients(
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
    """As `gradients.batch_gradients`: mean loss, gradients divided like the model, and their global norm.

    Args:
        batch: arrays of [lanes per device, data × sequences of a lane, position + 1], divided over `data` along the
            second axis.
        fsdp: sums in the order of lanes.
    """
    divisor = divisor_of(count_targets(batch))
    order = order_of_lanes(gather_once=gather_once)

    def on_device(shards, vector, frozen, batch, key, counted):
        def whole(model, batch, divisor, **keys):
            return whole_loss(model, batch, None, **keys) / divisor

        def layerwise(shards, batch, divisor, **keys):
            return layerwise_loss(shards, batch, None, fsdp=fsdp, **keys) / divisor

        divided_by = divisor if counted is None else counted
        if gather_once:
            lane = _lane(derivative, whole, fsdp.gather((shards, vector, frozen)), divided_by, key, rules)
        else:
            alone = _lane(derivative, layerwise, (shards, vector, frozen), divided_by, key, rules)

            def lane(inputs):
                loss, gradients = alone(inputs)
                return sum_over_data(loss, None, rules, order), gradients

        count = batch.tokens.shape[0]
        loss, gradients = tree_reduce_over_time(lane, (jnp.arange(count), batch), count, order)
        if gather_once:
            loss, gradients = sum_over_data(loss, None, rules, order), fsdp.reduce(gradients)
        gradients = optimization_barrier(gradients)
        return loss, gradients, global_norm(gradients, rules)

    specs = model_specs(model, rules)
    return over_data(
        on_device,
        rules,
        in_specs=(
            specs,
            model_specs(vector, rules),
            model_specs(frozen, rules),
            PartitionSpec(None, DATA),
            PartitionSpec(),
            PartitionSpec(),
        ),
        out_specs=(PartitionSpec(), specs, PartitionSpec()),
    )(model, vector, frozen, batch, key, None if isinstance(divisor, int) else divisor)


def lane_losses(
    model, batch: Batch, weights: jax.Array, *, rules: ShardingRules, fsdp: Fsdp, gather_once: bool
) -> jax.Array:
    """As `gradients.batch_loss`, the sum of the losses of a batch in nats; batch and weights lie by lanes."""

    def on_device(shards, batch, weights):
        model = fsdp.gather(shards) if gather_once else shards

        def lane(inputs):
            parameters, (batch, weights) = optimization_barrier((model, inputs))
            if gather_once:
                loss = whole_loss(parameters, batch, weights, key=None)
            else:
                loss = layerwise_loss(parameters, batch, weights, key=None, fsdp=fsdp)
            return optimization_barrier(loss)

        losses = jax.lax.all_gather(jax.lax.map(lane, (batch, weights)), DATA, axis=1)
        return tree_reduce(list(losses.reshape(-1)), TreeOrder.NEIGHBOURS)

    return over_data(
        on_device,
        rules,
        in_specs=(model_specs(model, rules), PartitionSpec(None, DATA), PartitionSpec(None, DATA)),
        out_specs=PartitionSpec(),
    )(model, batch, weights)


def _lane(
    derivative: Derivative,
    loss_of: Callable,
    parameters,
    divisor: jax.Array | int,
    key: PRNGKeyArray | None,
    rules: ShardingRules,
) -> Callable:
    """(number among this device's lanes, its part of the batch) → loss and float32 gradients of the lane.

    Args:
        loss_of: (model, batch, divisor, key=…, label_key=…) → loss.
        parameters: what is trained, the derivative's vector, and the rest of the model.
        divisor: targets that count in the whole batch.
    """

    def lane(inputs):
        number, batch = inputs
        lane_key = None
        if key is not None:
            lane_key = jax.random.fold_in(key, number * rules.data_size + jax.lax.axis_index(DATA))
        (trained, vector, frozen), batch, divided_by = _behind_barrier(parameters, batch, divisor)
        loss = with_frozen(lambda model, batch, **keys: loss_of(model, batch, divided_by, **keys), frozen)
        lane = optimization_barrier(derivative(loss, trained, vector, batch, lane_key))
        # Lanes are added up next: at once where one device has all of them, behind a transfer elsewhere.
        return jax.tree.map(lambda x: prevent_fma(x, no_sign=batch.tokens[0, 0]), cast(lane, jnp.float32))

    return lane


def _behind_barrier(parameters, batch: Batch, divisor: jax.Array | int):
    """The inputs of a lane, parted from what computed them. A divisor that is known beforehand has no barrier."""
    if isinstance(divisor, int):
        return (*optimization_barrier((parameters, batch)), divisor)
    return optimization_barrier((parameters, batch, divisor))
