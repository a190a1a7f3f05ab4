"""`spec.optimizer`: how gradients become updates."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.section import Section


class OptimizerSpec(Section):
    """The optimizer and its schedule of learning rates."""

    type: Literal["adamw"] = "adamw"
    """AdamW: Loshchilov & Hutter, https://arxiv.org/abs/1711.05101."""

    learning_rate: float = Field(default=6e-4, gt=0)
    """Peak learning rate. `6e-4`, `6.0e-4` and `0.0006` mean the same."""

    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled weight decay. Applied to matrices; biases and normalisation parameters are exempt."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the running mean of gradients."""

    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the running mean of squared gradients."""

    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the denominator of the update."""

    max_grad_norm: float | None = Field(default=1.0, gt=0)
    """Gradients are scaled so that their global norm is at most this; null turns clipping off."""

    lr_schedule: Literal["cosine", "linear", "constant", "inv_sqrt", "wsd"] = "cosine"
    """Course of the learning rate after the warm-up. `cosine` and `linear` fall from the peak to the last step. `wsd`
    (warm-up, stable, decay) stays at the peak and falls linearly over the last `decay` steps:
    https://arxiv.org/abs/2404.06395. `inv_sqrt` is the peak times √(warmup / step); `constant` stays at the peak."""

    warmup: float = Field(default=0.01, ge=0)
    """Length of the linear warm-up: below 1 a fraction of numTrainSteps, from 1 on a number of steps. Its last step
    has the peak; without a warm-up the first step has it."""

    decay: float = Field(default=0.1, ge=0)
    """Length of the final decay of schedule `wsd`: below 1 a fraction of numTrainSteps, from 1 on a number of steps."""

    min_lr_ratio: float = Field(default=0.1, ge=0, le=1)
    """Learning rate of the last step as a fraction of the peak, for `cosine`, `linear` and `wsd`. That of `inv_sqrt`
    never falls below it; that of `constant` does not fall."""
