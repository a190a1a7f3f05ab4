"""What both modes of the step share: the loss of one microbatch, and work on each device of the data axis by itself."""

import math
from collections.abc import Callable

import equinox as eqx
import haliax as hax
import jax
import jax.numpy as jnp
from haliax import Axis
from jaxtyping import PRNGKeyArray

from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import DATA, ShardingRules, replace_array
from lateen_trainer.models.lora import join_frozen
from lateen_trainer.models.loss import draw_labels, next_token_losses
from lateen_trainer.step.fsdp import Fsdp


def microbatch_loss(
    model,
    batch: Batch,
    weights: jax.Array | None,
    *,
    key: PRNGKeyArray | None,
    label_key: PRNGKeyArray | None = None,
    resolve,
) -> jax.Array:
    """Sum of the losses of a microbatch in nats, a float32 scalar.

    Args:
        batch: arrays of [batch, position + 1]: each position's target is the next token.
        weights: [batch] factor of a sequence's losses; None: 1.
        key: for dropout; None: there is none.
        label_key: draw the targets from the model instead.
    """
    tokens = batch.tokens
    axes = (Axis("batch", tokens.shape[0]), Axis("position", tokens.shape[1] - 1))
    inputs = hax.named(tokens[:, :-1], axes)
    targets = hax.named(tokens[:, 1:], axes)
    factors = jnp.ones(targets.array.shape, jnp.float32)
    if weights is not None:
        factors = factors * weights[:, None]
    if batch.is_partial:
        factors = factors * batch.target_weights()
    documents = {} if batch.segments is None else {"segments": hax.named(batch.segments[:, :-1], axes)}
    hidden = model.hidden(inputs, key=key, resolve=resolve, **documents)
    vocab_size = model.config.vocab_size
    if label_key is not None:
        targets = draw_labels(hidden, model.lm_head, label_key, vocab_size=vocab_size)
    weights_of_tokens = hax.named(factors, axes)
    return next_token_losses(hidden, model.lm_head, targets, weights_of_tokens, vocab_size=vocab_size)


def layerwise_loss(
    shards,
    batch: Batch,
    weights: jax.Array | None,
    *,
    key: PRNGKeyArray | None,
    label_key: PRNGKeyArray | None = None,
    fsdp: Fsdp,
) -> jax.Array:
    """`microbatch_loss` of a model whose parameters are gathered where they are used."""
    outer = fsdp.gather_with_gradient(eqx.tree_at(lambda m: m.blocks, shards, None))
    model = eqx.tree_at(lambda m: m.blocks, outer, shards.blocks, is_leaf=lambda x: x is None)
    return microbatch_loss(model, batch, weights, key=key, label_key=label_key, resolve=fsdp.gather_with_gradient)


def whole_loss(
    model,
    batch: Batch,
    weights: jax.Array | None,
    *,
    key: PRNGKeyArray | None,
    label_key: PRNGKeyArray | None = None,
) -> jax.Array:
    """`microbatch_loss` of a model that has been gathered as a whole."""
    return microbatch_loss(model, batch, weights, key=key, label_key=label_key, resolve=lambda block: block)


def count_targets(batch: Batch) -> jax.Array | int:
    """The targets of a batch that count: known beforehand where all do, else an int32 scalar.

    The sum of integers is the same in any order, so it may be the partitioner's.
    """
    if batch.is_partial:
        return jnp.sum(batch.target_weights(), dtype=jnp.int32)
    return math.prod(batch.tokens.shape[:-1]) * (batch.tokens.shape[-1] - 1)


def divisor_of(count: jax.Array | int) -> jax.Array | int:
    """What a sum over the counted targets is divided by for their mean, which is 0 where there are none."""
    return count if isinstance(count, int) else jnp.maximum(count, 1).astype(jnp.float32)


def with_frozen(loss_of: Callable, frozen) -> Callable:
    """A loss of whole models as one of what is trained of them, beside what is not."""
    return lambda trained, batch, **keys: loss_of(join_frozen(trained, frozen), batch, **keys)


def over_data(function: Callable, rules: ShardingRules, *, in_specs, out_specs) -> Callable:
    """The function on each device of the data axis by itself; the model axis stays the partitioner's."""
    return jax.shard_map(
        function, mesh=rules.mesh, in_specs=in_specs, out_specs=out_specs, axis_names={DATA}, check_vma=False
    )


def model_specs(model, rules: ShardingRules):
    """How the model lies over `data`, as `over_data` wants it."""
    return jax.tree.map(
        lambda leaf: replace_array(leaf, rules.data_spec(leaf.axes)), model, is_leaf=hax.util.is_named_array
    )
