"""Loss and gradients of a batch, accumulated over its microbatches."""

from collections.abc import Callable

import equinox as eqx
import haliax as hax
import jax
import jax.numpy as jnp
from haliax import Axis
from jax.sharding import PartitionSpec
from jaxtyping import PRNGKeyArray

from lateen_trainer.mesh import DATA, ShardingRules, in_place_of
from lateen_trainer.models.layers import cast
from lateen_trainer.models.loss import next_token_losses
from lateen_trainer.step.fsdp import Fsdp


def microbatch_loss(
    model, tokens: jax.Array, weights: jax.Array | None, *, key: PRNGKeyArray | None, resolve
) -> jax.Array:
    """Sum of the losses of a microbatch in nats, a float32 scalar.

    Args:
        tokens: [batch, position + 1]: each position's target is the next token.
        weights: [batch] factor of a sequence's losses; None: 1.
    """
    Batch = Axis("batch", tokens.shape[0])
    Pos = Axis("position", tokens.shape[1] - 1)
    inputs = hax.named(tokens[:, :-1], (Batch, Pos))
    targets = hax.named(tokens[:, 1:], (Batch, Pos))
    factors = jnp.ones(targets.array.shape, jnp.float32)
    if weights is not None:
        factors = factors * weights[:, None]
    hidden = model.hidden(inputs, key=key, resolve=resolve)
    return next_token_losses(hidden, model.lm_head, targets, hax.named(factors, (Batch, Pos)))


def batch_gradients(
    model, tokens: jax.Array, *, key: PRNGKeyArray | None, rules: ShardingRules, fsdp: Fsdp, gather_once: bool
):
    """Mean loss of a batch in nats a token, and its gradients divided like the model.

    Args:
        model: parameters, divided over the mesh by `rules`.
        tokens: [microbatch number, data × batch, position + 1], divided over `data` along its second axis.
        key: for dropout; None: there is none.
        gather_once: gather all parameters before the first microbatch and reduce the gradients behind the last,
            rather than layer by layer in each microbatch. Faster where a whole model and its gradient fit.
    """
    token_count = tokens.shape[0] * tokens.shape[1] * (tokens.shape[2] - 1)
    microbatches = _whole_microbatches if gather_once else _layerwise_microbatches

    if rules.data_size == 1:
        return microbatches(model, tokens, key, fsdp, token_count)

    def on_device(model, tokens, key):
        if key is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(DATA))
        loss, gradients = microbatches(model, tokens, key, fsdp, token_count)
        return jax.lax.psum(loss, DATA), gradients

    model_specs = _model_specs(model, rules)
    return _over_data(
        on_device,
        rules,
        in_specs=(model_specs, PartitionSpec(None, DATA), PartitionSpec()),
        out_specs=(PartitionSpec(), model_specs),
    )(model, tokens, key)


def batch_loss(
    model, tokens: jax.Array, weights: jax.Array, *, rules: ShardingRules, fsdp: Fsdp, gather_once: bool
) -> jax.Array:
    """Sum of the losses of a batch in nats, without dropout and without gradients.

    Args:
        tokens: [data × batch, position + 1], divided over `data`.
        weights: [data × batch] factors of the sequences' losses, divided likewise.
    """

    def local(model, tokens, weights):
        model = fsdp.gather(model) if gather_once else _resolve_all_but_blocks(model, fsdp)
        resolve = _as_it_is if gather_once else fsdp.resolve
        return microbatch_loss(model, tokens, weights, key=None, resolve=resolve)

    if rules.data_size == 1:
        return local(model, tokens, weights)
    return _over_data(
        lambda *inputs: jax.lax.psum(local(*inputs), DATA),
        rules,
        in_specs=(_model_specs(model, rules), PartitionSpec(DATA), PartitionSpec(DATA)),
        out_specs=PartitionSpec(),
    )(model, tokens, weights)


def _over_data(function: Callable, rules: ShardingRules, *, in_specs, out_specs) -> Callable:
    """The function on each device of the data axis by itself; the model axis stays the partitioner's."""
    return jax.shard_map(
        function, mesh=rules.mesh, in_specs=in_specs, out_specs=out_specs, axis_names={DATA}, check_vma=False
    )


def _model_specs(model, rules: ShardingRules):
    return jax.tree.map(
        lambda leaf: in_place_of(leaf, rules.data_spec(leaf.axes)), model, is_leaf=hax.util.is_named_array
    )


def _whole_microbatches(shards, tokens, key, fsdp: Fsdp, token_count: int):
    whole = fsdp.gather(shards)

    def loss_of(model, tokens, key):
        return microbatch_loss(model, tokens, None, key=key, resolve=_as_it_is) / token_count

    loss, gradients = _accumulate(loss_of, whole, tokens, key)
    return loss, fsdp.reduce(gradients)


def _layerwise_microbatches(shards, tokens, key, fsdp: Fsdp, token_count: int):
    def loss_of(shards, tokens, key):
        model = _resolve_all_but_blocks(shards, fsdp)
        return microbatch_loss(model, tokens, None, key=key, resolve=fsdp.resolve) / token_count

    return _accumulate(loss_of, shards, tokens, key)


def _accumulate(loss_of: Callable, parameters, tokens: jax.Array, key: PRNGKeyArray | None):
    """Sums of loss and float32 gradients over microbatches tokens[0], tokens[1], …"""

    def add(carry, inputs):
        number, microbatch = inputs
        microbatch_key = None if key is None else jax.random.fold_in(key, number)
        loss, gradients = jax.value_and_grad(loss_of)(parameters, microbatch, microbatch_key)
        return jax.tree.map(jnp.add, carry, (loss, cast(gradients, jnp.float32))), None

    zeros = (jnp.float32(0), jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), parameters))
    if tokens.shape[0] == 1:
        return add(zeros, (0, tokens[0]))[0]
    return jax.lax.scan(add, zeros, (jnp.arange(tokens.shape[0]), tokens))[0]


def _resolve_all_but_blocks(model, fsdp: Fsdp):
    outer = fsdp.resolve(eqx.tree_at(lambda m: m.blocks, model, None))
    return eqx.tree_at(lambda m: m.blocks, outer, model.blocks, is_leaf=lambda x: x is None)


def _as_it_is(tree):
    return tree
