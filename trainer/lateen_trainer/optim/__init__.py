"""Gradients in, updates out: optax transformations as the spec asks for them."""

from lateen_trainer.optim.build import make_optimizer
from lateen_trainer.optim.schedules import learning_rate_schedule

__all__ = ["learning_rate_schedule", "make_optimizer"]
