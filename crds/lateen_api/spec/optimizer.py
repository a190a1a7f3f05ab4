"""`spec.optimizer`: how gradients become updates, one Section per algorithm, chosen by `type`.

docs/optimizers.md has the formulas as the trainer computes them.
"""

from typing import Annotated, Literal

from pydantic import Field

from lateen_api.spec.section import Section

LONGEST_PATTERN = 256
"""Characters of a group's pattern."""


class ParameterGroup(Section):
    """Parameters that have a learning rate or a weight decay of their own."""

    match: str = Field(min_length=1, max_length=LONGEST_PATTERN)
    """Names of parameters as checkpoints and `lateen plan` have them, with `*`, `?` and `[…]` as in file names:
    `model.blocks.*.bias`. A parameter belongs to the first group that matches its name."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate of the group. null: that of parameters without a group. The schedule is the same."""

    weight_decay: float | None = Field(default=None, ge=0)
    """Weight decay of the group, of biases and normalisation parameters too. null: as without a group."""


class OptimizerSection(Section):
    """Fields of all optimizers. An optimizer gives them defaults of its own where others are usual for it."""

    learning_rate: float = Field(default=6e-4, gt=0)
    """Peak learning rate. `6e-4`, `6.0e-4` and `0.0006` mean the same."""

    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled weight decay. Applied to matrices; biases and normalisation parameters are exempt."""

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

    groups: list[ParameterGroup] = Field(default=[], max_length=64)
    """Parameters with a learning rate or a weight decay of their own. The first group that matches counts."""


class AdamWSpec(OptimizerSection):
    """AdamW: Loshchilov & Hutter, https://arxiv.org/abs/1711.05101."""

    type: Literal["adamw"] = "adamw"
    """The algorithm."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the running mean of gradients."""

    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the running mean of the second moments of gradients."""

    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the denominator of the update."""


class SophiaSection(OptimizerSection):
    """Sophia: Liu et al., https://arxiv.org/abs/2305.14342. The defaults are the paper's; its learning rate is 0.8 of
    AdamW's."""

    learning_rate: float = Field(default=4.8e-4, gt=0)
    """Peak learning rate. `6e-4`, `6.0e-4` and `0.0006` mean the same."""

    weight_decay: float = Field(default=0.2, ge=0)
    """Decoupled weight decay. Applied to matrices; biases and normalisation parameters are exempt."""

    beta1: float = Field(default=0.96, ge=0, lt=1)
    """Decay of the running mean of gradients."""

    beta2: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the running mean of estimates of the Hessian's diagonal."""

    epsilon: float = Field(default=1e-12, gt=0)
    """Least denominator of the update."""

    update_interval: int = Field(default=10, ge=1)
    """Steps from one estimate of the Hessian's diagonal to the next."""


class SophiaHSpec(SophiaSection):
    """Sophia-H: curvature by Hutchinson's estimator, a product of the Hessian with a random vector."""

    type: Literal["sophia-h"]
    """The algorithm."""

    gamma: float = Field(default=0.01, gt=0)
    """Factor of the curvature in the update: the larger, the fewer components are clipped."""


class SophiaGSpec(SophiaSection):
    """Sophia-G: curvature by the Gauss-Newton-Bartlett estimator, gradients with labels that the model draws."""

    type: Literal["sophia-g"]
    """The algorithm."""

    gamma: float = Field(default=0.05, gt=0)
    """Factor of the curvature in the update: the larger, the fewer components are clipped."""


class LionSpec(OptimizerSection):
    """Lion: Chen et al., https://arxiv.org/abs/2302.06675. Betas are the paper's for language models; the learning rate
    is a fifth of AdamW's and the weight decay five times AdamW's."""

    type: Literal["lion"]
    """The algorithm."""

    learning_rate: float = Field(default=1.2e-4, gt=0)
    """Peak learning rate. `6e-4`, `6.0e-4` and `0.0006` mean the same."""

    weight_decay: float = Field(default=0.5, ge=0)
    """Decoupled weight decay. Applied to matrices; biases and normalisation parameters are exempt."""

    beta1: float = Field(default=0.95, ge=0, lt=1)
    """Part of the running mean of gradients in the sum whose sign is the update."""

    beta2: float = Field(default=0.98, ge=0, lt=1)
    """Decay of the running mean of gradients."""


class AdafactorSpec(OptimizerSection):
    """Adafactor: Shazeer & Stern, https://arxiv.org/abs/1804.04235. The defaults are the paper's."""

    type: Literal["adafactor"]
    """The algorithm."""

    learning_rate: float = Field(default=1e-2, gt=0)
    """Peak learning rate. `6e-4`, `6.0e-4` and `0.0006` mean the same."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay. Applied to matrices; biases and normalisation parameters are exempt."""

    decay_rate: float = Field(default=0.8, gt=0, le=1)
    """The running means of squares decay by 1 - t^-decayRate in step t."""

    epsilon1: float = Field(default=1e-30, gt=0)
    """Added to squares of gradients."""

    clipping_threshold: float = Field(default=1.0, gt=0)
    """Greatest root mean square of a parameter's update, before the learning rate."""

    multiply_by_parameter_scale: bool = True
    """Multiply each parameter's update by the root mean square of the parameter: learningRate is relative to it."""

    epsilon2: float = Field(default=1e-3, gt=0)
    """Least root mean square that multiplyByParameterScale takes a parameter to have."""


class MuonSpec(OptimizerSection):
    """Muon for matrices of the blocks: Jordan et al., https://kellerjordan.github.io/posts/muon/. AdamW for embeddings,
    output layer, biases and normalisation parameters."""

    type: Literal["muon"]
    """The algorithm."""

    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the running sum of a matrix's gradients."""

    nesterov: bool = True
    """Look ahead by one step of the momentum."""

    newton_schulz_steps: int = Field(default=5, ge=1, le=20)
    """Iterations that orthogonalise a matrix."""

    scale: Literal["rms", "spectral"] = "rms"
    """Factor of an orthogonalised matrix: `rms` is 0.2·√max(rows, columns), which gives updates of AdamW's size, so
    that one learning rate does for both (https://arxiv.org/abs/2502.16982); `spectral` is √max(1, outputs / inputs),
    for learning rates about 0.02."""

    adam_learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate of parameters that AdamW trains. null: learningRate."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's decay of the running mean of gradients."""

    beta2: float = Field(default=0.95, ge=0, lt=1)
    """AdamW's decay of the running mean of the second moments of gradients."""

    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the denominator of AdamW's update."""


OptimizerSpec = Annotated[
    AdamWSpec | SophiaHSpec | SophiaGSpec | LionSpec | AdafactorSpec | MuonSpec, Field(discriminator="type")
]
"""How gradients become updates; `type` says by which algorithm, adamw where it is left out."""
