"""What stays the same from a run's first step to its last."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from lateen_api.plan import Plan
from lateen_api.plan.lanes import TRIPS
from lateen_api.spec import JobSpec

from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.models.families import init_model, make_config
from lateen_trainer.models.language_model import LanguageModel, ModelConfig
from lateen_trainer.models.lora import LoraModel, join_frozen, split_trained
from lateen_trainer.optim import learning_rate_schedule, make_optimizer
from lateen_trainer.step.state import TrainState, init_state, state_shapes
from lateen_trainer.step.train_step import Curvature, StepSettings

CURVATURE: dict[str, Curvature] = {"sophia-g": "gauss-newton-bartlett", "sophia-h": "hutchinson"}
"""Estimators by the types of optimizers that need one."""


@dataclass(frozen=True)
class Run:
    """The job, its plan, and the functions made of them."""

    spec: JobSpec
    plan: Plan
    config: ModelConfig
    settings: StepSettings

    @staticmethod
    def build(spec: JobSpec, plan: Plan, vocab_size: int, devices: Sequence[Any] | None = None) -> "Run":
        """Lays the model out over the devices of all processes; `devices`: over others, which may be descriptions."""
        rules = ShardingRules(
            make_mesh(plan.mesh.data, plan.mesh.model, devices),
            spec.trainer.fsdp_axis,
            tuple(spec.trainer.tensor_parallel_axes),
            most_data=None if plan.lanes is None else max(1, plan.lanes // TRIPS),
        )
        # Kernels of attention have no second derivative, which Hutchinson's estimator takes.
        kernels = "cpu" if spec.optimizer.type == "sophia-h" else rules.platform
        config = make_config(spec.model, vocab_size, kernels, plan.padded_vocab_size)
        has_dropout = spec.model.has_dropout or (spec.trainer.lora is not None and spec.trainer.lora.dropout > 0)
        settings = StepSettings(
            rules=rules,
            optimizer=make_optimizer(spec.optimizer, spec.trainer.num_train_steps, rules),
            learning_rate=learning_rate_schedule(spec.optimizer, spec.trainer.num_train_steps),
            compute_dtype=jnp.dtype(plan.compute_dtype),
            gather_once=plan.gather_once,
            dropout_key=jax.random.fold_in(jax.random.key(spec.trainer.seed), 1) if has_dropout else None,
            elastic=plan.lanes is not None,
            skip_not_finite=spec.recovery.on_nan == "skip",
            curvature=CURVATURE.get(spec.optimizer.type),
            curvature_key=jax.random.fold_in(jax.random.key(spec.trainer.seed), 2),
            ema_decay=None if spec.trainer.ema is None else spec.trainer.ema.decay,
            param_dtype=jnp.dtype(plan.param_dtype),
        )
        return Run(spec, plan, config, settings)

    def make_base(self) -> LanguageModel:
        """A new model of its family, the same for every mesh."""
        return init_model(self.config, key=jax.random.key(self.spec.trainer.seed))

    def adapted(self, base: LanguageModel) -> LanguageModel | LoraModel:
        """A model as the job trains it: with new adapters, if it has LoRA."""
        lora = self.spec.trainer.lora
        if lora is None:
            return base
        return LoraModel.init(base, lora, key=jax.random.fold_in(jax.random.key(self.spec.trainer.seed), 3))

    def make_model(self) -> LanguageModel | LoraModel:
        """A new model as the job trains it."""
        return self.adapted(self.make_base())

    def init_state(self) -> TrainState:
        """A new state on the mesh."""
        return init_state(self.make_model, self.settings.optimizer, self.settings.rules, **self._state_options)

    def state_shapes(self) -> TrainState:
        """Shapes and shardings of the state, without computing anything."""
        return state_shapes(self.make_model, self.settings.optimizer, self.settings.rules, **self._state_options)

    def state_of(self, base: LanguageModel) -> TrainState:
        """A new state that begins with the parameters of `base`, to be traced by jit."""
        return TrainState.init(lambda: self.adapted(base), self.settings.optimizer, **self._state_options)

    @property
    def _state_options(self) -> dict[str, Any]:
        return {"has_ema": self.settings.ema_decay is not None, "param_dtype": self.settings.param_dtype}

    def evaluated(self, state: TrainState) -> Any:
        """The model to evaluate, sample from and export: the averaged weights, where the job has and uses them."""
        ema = self.spec.trainer.ema
        if ema is None or not ema.use:
            return state.model
        _, frozen = split_trained(state.model)
        return join_frozen(state.ema, frozen)
