"""Learning rate as a function of the step."""

import jax.numpy as jnp
import optax
from lateen_api.plan import steps_of
from lateen_api.spec import OptimizerSpec


def learning_rate_schedule(spec: OptimizerSpec, num_steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then the course that `lrSchedule` names, ending at minLrRatio × learningRate.

    Step 0 of a warm-up of n steps has 1/n of the peak, so that no step is lost to a rate of 0.
    """
    peak, floor = spec.learning_rate, spec.learning_rate * spec.min_lr_ratio
    warmup = steps_of(spec.warmup, num_steps)
    rest = max(1, num_steps - warmup)

    if spec.lr_schedule == "constant":
        main = optax.constant_schedule(peak)
    elif spec.lr_schedule == "linear":
        main = optax.linear_schedule(peak, floor, rest)
    elif spec.lr_schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, rest, alpha=spec.min_lr_ratio)
    elif spec.lr_schedule == "inv_sqrt":
        main = _inverse_square_root(peak, floor, timescale=max(1, warmup))
    else:
        decay = min(rest, steps_of(spec.decay, num_steps))
        stable = rest - decay
        main = optax.join_schedules(
            [optax.constant_schedule(peak), optax.linear_schedule(peak, floor, max(1, decay))], [stable]
        )
    if warmup == 0:
        return main
    ramp = optax.linear_schedule(peak / warmup, peak, max(1, warmup - 1))
    return optax.join_schedules([ramp, main], [warmup])


def _inverse_square_root(peak: float, floor: float, timescale: int) -> optax.Schedule:
    """peak · √(timescale / (timescale + step)), never below floor (Vaswani et al., with the warm-up taken out)."""

    def schedule(step):
        return jnp.maximum(floor, peak * jnp.sqrt(timescale / (timescale + step)))

    return schedule
