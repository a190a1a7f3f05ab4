"""The compiled functions of the training loop: one optimizer step, one batch of evaluation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from lateen_trainer.mesh import ShardingRules
from lateen_trainer.step.fsdp import Fsdp
from lateen_trainer.step.gradients import batch_gradients, batch_loss
from lateen_trainer.step.state import TrainState


@dataclass(frozen=True)
class StepSettings:
    """What a step needs to know besides its inputs."""

    rules: ShardingRules
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    """The optimizer's schedule, for the report."""

    compute_dtype: jnp.dtype
    gather_once: bool
    dropout_key: PRNGKeyArray | None
    """Key from which each step's is derived; None: the model has no dropout."""


def make_train_step(settings: StepSettings):
    """A compiled `(state, tokens) → (state, metrics)`; the old state's memory is given to the new one.

    tokens: [microbatch number, data × batch, position + 1], as `BatchPlacement` lays them out.
    Metrics are float32 scalars: `loss` in nats a token, `grad_norm` before clipping, `learning_rate`.
    """
    fsdp = Fsdp(settings.rules, settings.compute_dtype)

    def train_step(state: TrainState, tokens: jax.Array):
        key = None if settings.dropout_key is None else jax.random.fold_in(settings.dropout_key, state.step)
        loss, gradients = batch_gradients(
            state.model, tokens, key=key, rules=settings.rules, fsdp=fsdp, gather_once=settings.gather_once
        )
        updates, opt_state = settings.optimizer.update(gradients, state.opt_state, state.model)
        model = optax.apply_updates(state.model, updates)
        metrics = {
            "loss": loss,
            "grad_norm": optax.tree.norm(gradients),
            "learning_rate": jnp.float32(settings.learning_rate(state.step)),
        }
        return TrainState(state.step + 1, model, opt_state), metrics

    return jax.jit(train_step, donate_argnums=0)


def make_eval_step(settings: StepSettings):
    """A compiled `(model, tokens, weights) → loss` of one batch of evaluation.

    tokens [data × batch, position + 1] and weights [data × batch] are divided over `data`; a sequence of weight 0
    counts nothing. The result is the sum of the losses in nats, a float32 scalar.
    """
    fsdp = Fsdp(settings.rules, settings.compute_dtype)

    def eval_step(model, tokens: jax.Array, weights: jax.Array):
        return batch_loss(model, tokens, weights, rules=settings.rules, fsdp=fsdp, gather_once=settings.gather_once)

    return jax.jit(eval_step)
