"""Learning rate as a function of the step."""

import jax
import jax.numpy as jnp
import optax
from lateen_api.plan import steps_of
from lateen_api.plan.schedule import decay_steps
from lateen_api.spec import OptimizerSection

from lateen_trainer.rounding import prevent_fma


def learning_rate_schedule(spec: OptimizerSection, num_steps: int) -> optax.Schedule:
    """The learning rate, float32, by the number of optimizer steps before the one that uses it (from 0).

    Steps are counted from 1 here: step s of n. The warm-up of w steps has s/w of the peak, so that step w has the peak
    itself and no step is lost to a rate of 0. Without a warm-up step 1 has the peak, as with a warm-up of one step. A
    decay of d steps falls from the peak at step n - d to minLrRatio × learningRate at step n, the last one. Both ends
    are exact: float32 of the product.

    `optax.warmup_cosine_decay_schedule`, and Levanter by it, start at 0 and reach the peak and the end one step later:
    what they would give step n + 1 is never used.
    """
    peak, floor = spec.learning_rate, spec.learning_rate * spec.min_lr_ratio
    warmup = max(1, steps_of(spec.warmup, num_steps))
    decay = decay_steps(spec, num_steps)

    def after_warmup(step: jax.Array) -> jax.Array | float:
        if spec.lr_schedule == "inv_sqrt":
            # Vaswani et al., https://arxiv.org/abs/1706.03762, equation 3.
            return jnp.maximum(floor, peak * jnp.sqrt(warmup / step))
        if decay == 0:
            return peak
        if spec.lr_schedule == "cosine":
            left = 0.5 * (1 + jnp.cos(jnp.pi * ((step - (num_steps - decay)) / decay)))
        else:
            left = (num_steps - step) / decay
        falling = floor + prevent_fma((peak - floor) * left, step)
        # Not left to the formula: the sum is rounded, and XLA multiplies by the reciprocal where it divides.
        return jnp.where(step <= num_steps - decay, peak, jnp.where(step >= num_steps, floor, falling))

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(count, jnp.int32) + 1
        return jnp.where(step < warmup, peak * (step / warmup), after_warmup(step)).astype(jnp.float32)

    return schedule
