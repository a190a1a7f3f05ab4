"""The compiled functions of the training loop: one optimizer step, one batch of evaluation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray

from lateen_trainer.mesh import DATA, ShardingRules
from lateen_trainer.step.fsdp import Fsdp
from lateen_trainer.step.gradients import batch_gradients
from lateen_trainer.step.state import TrainState


@dataclass(frozen=True)
class StepSettings:
    """What a step needs to know besides its inputs."""

    rules: ShardingRules
    optimizer: optax.GradientTransformation
    compute_dtype: jnp.dtype
    gather_once: bool
    dropout_key: PRNGKeyArray | None
    """Key from which each step's is derived; None: the model has no dropout."""


def batch_sharding(rules: ShardingRules) -> NamedSharding:
    """Of tokens [microbatch number, data × batch, position + 1]."""
    return NamedSharding(rules.mesh, PartitionSpec(None, DATA))


def make_train_step(settings: StepSettings):
    """A compiled `(state, tokens) → (state, metrics)`; the old state's memory is given to the new one.

    Metrics are float32 scalars: `loss` in nats a token, `grad_norm` before clipping.
    """
    fsdp = Fsdp(settings.rules, settings.compute_dtype)

    def train_step(state: TrainState, tokens: jax.Array):
        key = None if settings.dropout_key is None else jax.random.fold_in(settings.dropout_key, state.step)
        loss, gradients = batch_gradients(
            state.model, tokens, key=key, rules=settings.rules, fsdp=fsdp, gather_once=settings.gather_once
        )
        updates, opt_state = settings.optimizer.update(gradients, state.opt_state, state.model)
        model = optax.apply_updates(state.model, updates)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(gradients)}
        return TrainState(state.step + 1, model, opt_state), metrics

    return jax.jit(train_step, donate_argnums=0)
