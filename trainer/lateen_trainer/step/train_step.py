"""The compiled functions of the training loop: one optimizer step, one batch of evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from lateen_trainer.data.batch import Batch
from lateen_trainer.mesh import ShardingRules
from lateen_trainer.models.layers import cast
from lateen_trainer.models.lora import join_frozen, split_trained
from lateen_trainer.rounding import prevent_fma
from lateen_trainer.step.curvature import gauss_newton_bartlett, hutchinson
from lateen_trainer.step.derivatives import without_checkpointing
from lateen_trainer.step.elastic import lane_gradients, lane_losses, order_of_lanes
from lateen_trainer.step.fsdp import Fsdp
from lateen_trainer.step.gradients import batch_gradients, batch_loss
from lateen_trainer.step.microbatch import count_targets
from lateen_trainer.step.state import FLOAT32, TrainState

COUNTED_TOKENS = "counted_tokens"
"""The metric that says how many of a batch's tokens count, where not all do: `report.names` has all metrics."""

Curvature = Literal["gauss-newton-bartlett", "hutchinson"]
"""Estimators of the Hessian's diagonal: `step.curvature`."""


@dataclass(frozen=True)
class StepSettings:
    """What a step needs to know besides its inputs."""

    rules: ShardingRules
    optimizer: optax.GradientTransformationExtraArgs
    learning_rate: optax.Schedule
    """The optimizer's schedule, for the report."""

    compute_dtype: jnp.dtype
    gather_once: bool
    dropout_key: PRNGKeyArray | None
    """Key from which each step's is derived; None: the model has no dropout."""

    elastic: bool = False
    """Whether microbatches are lanes, summed in an order that does not depend on the number of devices."""

    skip_not_finite: bool = False
    """Whether a batch whose loss or gradient is not finite leaves all of the state as it was, the number of the step
    too (`recovery.onNaN: skip`)."""

    curvature: Curvature | None = None
    """How the optimizer's curvature is estimated; None: it asks for none."""

    curvature_key: PRNGKeyArray | None = None
    """Key from which that of each step's estimate is derived."""

    ema_decay: float | None = None
    """Greatest decay of the running mean of the weights; None: there is none."""

    param_dtype: jnp.dtype = FLOAT32
    """Type that parameters are kept in between steps. A step changes them in float32, and rounds what it has."""

    def fsdp(self) -> Fsdp:
        """Gathers parameters and reduces gradients in the order of the mode."""
        order = order_of_lanes(gather_once=self.gather_once) if self.elastic else None
        return Fsdp(self.rules, self.compute_dtype, order)

    def compiler_options(self) -> dict[str, bool]:
        """What XLA must not do in the mode.

        It may leave out a conversion to a narrower type that is followed by one back. Whether one follows directly
        depends on the number of devices: with one, nothing is sent in between. For GPUs it chooses among kernels by
        timing them, which each process does for itself, and some add by atomics.
        """
        if not self.elastic:
            return {}
        gpu_options = {"xla_gpu_deterministic_ops": True} if self.rules.platform == "gpu" else {}
        return {"xla_allow_excess_precision": False, **gpu_options}


def make_train_step(settings: StepSettings):
    """A compiled `(state, batch) → (state, metrics)`; the old state's memory is given to the new one.

    batch: arrays of [microbatch number, data × batch, position + 1], as `BatchPlacement` lays them out.
    Metrics are float32 scalars: `loss` in nats per counted token, `grad_norm` before clipping, `learning_rate`, and
    `counted_tokens` where not all tokens count. A batch without any that counts has a loss and a gradient of 0.
    """
    fsdp = settings.fsdp()
    sum_gradients = partial(
        lane_gradients if settings.elastic else batch_gradients,
        rules=settings.rules,
        fsdp=fsdp,
        gather_once=settings.gather_once,
    )

    def train_step(state: TrainState, batch: Batch):
        key = None if settings.dropout_key is None else jax.random.fold_in(settings.dropout_key, state.step)
        kept, frozen = split_trained(state.model)
        before = cast(kept, FLOAT32)
        loss, gradients, grad_norm = sum_gradients(before, batch, key=key, frozen=frozen)
        # First of all, so that the optimizer's operations are not parted by a change of layout.
        gradients = jax.lax.with_sharding_constraint(gradients, settings.rules.shardings(gradients))
        updates, opt_state = settings.optimizer.update(
            gradients,
            state.opt_state,
            before,
            grad_norm=grad_norm,
            curvature=lambda: curvature(settings, sum_gradients, before, frozen, state.step, batch),
        )
        after = cast(optax.apply_updates(before, updates), settings.param_dtype)
        metrics = {
            "loss": loss,
            "grad_norm": grad_norm,
            "learning_rate": jnp.float32(settings.learning_rate(state.step)),
        }
        if batch.is_partial:
            metrics[COUNTED_TOKENS] = jnp.float32(count_targets(batch))
        ema = averaged(settings, state, cast(after, FLOAT32))
        trained = TrainState(state.step + 1, join_frozen(after, frozen), opt_state, ema)
        if settings.skip_not_finite:
            finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
            trained = jax.tree.map(lambda new, old: jnp.where(finite, new, old), trained, state)
        # Without this the partitioner may lay the new state out in another way, and compile again for it.
        return jax.lax.with_sharding_constraint(trained, settings.rules.shardings(trained)), metrics

    return jax.jit(train_step, donate_argnums=0, compiler_options=settings.compiler_options())


def curvature(
    settings: StepSettings, sum_gradients: Callable[..., tuple], trained, frozen, step: jax.Array, batch: Batch
):
    """An estimate of the Hessian's diagonal, divided like the parameters that are trained: `step.curvature`."""
    assert settings.curvature_key is not None, "an estimate of the curvature draws at random"
    key = jax.random.fold_in(settings.curvature_key, step)
    if settings.curvature == "gauss-newton-bartlett":
        estimate = gauss_newton_bartlett(partial(sum_gradients, frozen=frozen), trained, batch, key=key)
    else:
        sum_products = partial(sum_gradients, frozen=without_checkpointing(frozen))
        estimate = hutchinson(sum_products, trained, batch, key=key, rules=settings.rules)
    return jax.lax.with_sharding_constraint(estimate, settings.rules.shardings(estimate))


def averaged(settings: StepSettings, state: TrainState, trained):
    """The running mean of the weights after a step that made them `trained`; None: there is none.

    It decays by (1 + n) / (10 + n) in step n, counted from 0, or by `ema_decay` where that is less: the weights of the
    first steps soon count for nothing.
    """
    if settings.ema_decay is None:
        return None
    decay = jnp.minimum(settings.ema_decay, (1 + state.step) / (10 + state.step))
    part, new = jax.lax.optimization_barrier((1 - decay, trained))
    return jax.tree.map(lambda mean, x: mean + prevent_fma(part * (x - mean), state.step), state.ema, new)


def make_eval_step(settings: StepSettings):
    """A compiled `(model, batch, weights) → (loss, count)` of one batch of evaluation.

    The batch's arrays [microbatch number, data × batch, position + 1] and weights [microbatch number, data × batch] lie
    as `BatchPlacement` lays them out; a sequence of weight 0 counts nothing. The loss is the sum of the losses of the
    counted tokens in nats, a float32 scalar; the count is their number, an int32 scalar, or None where all tokens of a
    sequence count.
    """
    fsdp = settings.fsdp()
    loss_of = lane_losses if settings.elastic else batch_loss

    def eval_step(model, batch: Batch, weights: jax.Array):
        loss = loss_of(model, batch, weights, rules=settings.rules, fsdp=fsdp, gather_once=settings.gather_once)
        if not batch.is_partial:
            return loss, None
        return loss, jnp.sum(batch.target_weights() * (weights[..., None] > 0), dtype=jnp.int32)

    return jax.jit(eval_step, compiler_options=settings.compiler_options())
