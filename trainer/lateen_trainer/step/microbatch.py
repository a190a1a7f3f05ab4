"""What both modes of the step share: the loss of one microbatch, and work on each device of the data axis by itself."""

from collections.abc import Callable

import equinox as eqx
import haliax as hax
import jax
import jax.numpy as jnp
from haliax import Axis
from jaxtyping import PRNGKeyArray

from lateen_trainer.mesh import DATA, ShardingRules, replace_array
from lateen_trainer.models.lora import join_frozen
from lateen_trainer.models.loss import draw_labels, next_token_losses
from lateen_trainer.step.fsdp import Fsdp


def microbatch_loss(
    model,
    tokens: jax.Array,
    weights: jax.Array | None,
    *,
    key: PRNGKeyArray | None,
    label_key: PRNGKeyArray | None = None,
    resolve,
) -> jax.Array:
    """Sum of the losses of a microbatch in nats, a float32 scalar.

    Args:
        tokens: [batch, position + 1]: each position's target is the next token.
        weights: [batch] factor of a sequence's losses; None: 1.
        key: for dropout; None: there is none.
        label_key: draw the targets from the model instead.
    """
    Batch = Axis("batch", tokens.shape[0])
    Pos = Axis("position", tokens.shape[1] - 1)
    inputs = hax.named(tokens[:, :-1], (Batch, Pos))
    targets = hax.named(tokens[:, 1:], (Batch, Pos))
    factors = jnp.ones(targets.array.shape, jnp.float32)
    if weights is not None:
        factors = factors * weights[:, None]
    hidden = model.hidden(inputs, key=key, resolve=resolve)
    vocab_size = model.config.vocab_size
    if label_key is not None:
        targets = draw_labels(hidden, model.lm_head, label_key, vocab_size=vocab_size)
    weights_of_tokens = hax.named(factors, (Batch, Pos))
    return next_token_losses(hidden, model.lm_head, targets, weights_of_tokens, vocab_size=vocab_size)


def layerwise_loss(
    shards,
    tokens: jax.Array,
    weights: jax.Array | None,
    *,
    key: PRNGKeyArray | None,
    label_key: PRNGKeyArray | None = None,
    fsdp: Fsdp,
) -> jax.Array:
    """`microbatch_loss` of a model whose parameters are gathered where they are used."""
    outer = fsdp.resolve(eqx.tree_at(lambda m: m.blocks, shards, None))
    model = eqx.tree_at(lambda m: m.blocks, outer, shards.blocks, is_leaf=lambda x: x is None)
    return microbatch_loss(model, tokens, weights, key=key, label_key=label_key, resolve=fsdp.resolve)


def whole_loss(
    model,
    tokens: jax.Array,
    weights: jax.Array | None,
    *,
    key: PRNGKeyArray | None,
    label_key: PRNGKeyArray | None = None,
) -> jax.Array:
    """`microbatch_loss` of a model that has been gathered as a whole."""
    return microbatch_loss(model, tokens, weights, key=key, label_key=label_key, resolve=lambda block: block)


def with_frozen(loss_of: Callable, frozen) -> Callable:
    """A loss of whole models as one of what is trained of them, beside what is not."""
    return lambda trained, tokens, **keys: loss_of(join_frozen(trained, frozen), tokens, **keys)


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
