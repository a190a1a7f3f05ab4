"""The optimizer of a spec, as a chain of optax transformations."""

import jax
import jax.numpy as jnp
import optax
from haliax import NamedArray
from jax.lax import optimization_barrier
from lateen_api.spec import AdafactorSpec, AdamWSpec, LionSpec, MuonSpec, OptimizerSpec, SophiaGSpec, SophiaHSpec

from lateen_trainer.mesh import ShardingRules, make_mesh
from lateen_trainer.optim.adafactor import scale_by_adafactor
from lateen_trainer.optim.adam import scale_by_adam
from lateen_trainer.optim.lion import scale_by_lion
from lateen_trainer.optim.muon import scale_by_muon
from lateen_trainer.optim.parameters import map_rules
from lateen_trainer.optim.schedules import learning_rate_schedule
from lateen_trainer.optim.sophia import scale_by_sophia
from lateen_trainer.rounding import prevent_fma


def make_optimizer(
    spec: OptimizerSpec, num_steps: int, rules: ShardingRules | None = None
) -> optax.GradientTransformationExtraArgs:
    """Clipping by global norm, the spec's algorithm, decoupled weight decay, and the schedule of learning rates.

    `update` is told the norm of the gradients, `grad_norm=…`, and for Sophia how to estimate the curvature,
    `curvature=…` (`scale_by_sophia`).

    Args:
        num_steps: of the run.
        rules: how parameters lie on the devices; None: whole on one.
    """
    rules = rules or ShardingRules(make_mesh(1, 1, jax.devices()[:1]))
    return optax.chain(
        optax.identity() if spec.max_grad_norm is None else clip_to_norm(spec.max_grad_norm),
        _algorithm(spec, rules),
        add_decayed_weights(spec),
        scale_by_learning_rates(spec, num_steps),
    )


def _algorithm(spec: OptimizerSpec, rules: ShardingRules) -> optax.GradientTransformation:
    match spec:
        case AdamWSpec():
            return scale_by_adam(spec.beta1, spec.beta2, spec.epsilon)
        case SophiaHSpec() | SophiaGSpec():
            return scale_by_sophia(spec.beta1, spec.beta2, spec.gamma, spec.epsilon, spec.update_interval)
        case LionSpec():
            return scale_by_lion(spec.beta1, spec.beta2)
        case AdafactorSpec():
            return scale_by_adafactor(spec, rules)
        case MuonSpec():
            return scale_by_muon(spec, rules)


def clip_to_norm(max_norm: float) -> optax.GradientTransformationExtraArgs:
    """Scales gradients down to a global norm of `max_norm` (Pascanu et al., https://arxiv.org/abs/1211.5063).

    Unlike `optax.clip_by_global_norm` it is given the norm, since the code that reduced the gradients knows in which
    order to sum their squares.
    """

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None, **extra):
        del params
        grad_norm: jax.Array = extra["grad_norm"]
        factor = jnp.where(grad_norm < max_norm, 1.0, max_norm / grad_norm)
        # What Adam does next subtracts from it.
        return jax.tree.map(lambda g: prevent_fma(g * factor, grad_norm), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def add_decayed_weights(spec: OptimizerSpec) -> optax.GradientTransformation:
    """Adds to each update the parameter times its weight decay (`parameter_rule`)."""

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None, **extra):
        def decayed(rule, parameter: NamedArray, step: NamedArray) -> NamedArray:
            if rule.weight_decay == 0:
                return step
            decay = prevent_fma(rule.weight_decay * parameter.array, extra["grad_norm"])
            return NamedArray(step.array + decay, step.axes)

        return map_rules(spec, decayed, params, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_learning_rates(spec: OptimizerSpec, num_steps: int) -> optax.GradientTransformation:
    """Multiplies each update by minus its learning rate: the schedule's, in the proportion of the parameter's peak.

    What comes of it is added to the parameters.
    """
    schedule = learning_rate_schedule(spec, num_steps)

    def init(params):
        del params
        return optax.ScaleByScheduleState(jnp.zeros([], jnp.int32))

    def update(updates, state, params=None):
        def scaled(rule, _, step: NamedArray) -> NamedArray:
            # Behind a barrier, for the reason given in `adam`.
            rate = optimization_barrier(schedule(state.count) * (rule.learning_rate / spec.learning_rate))
            return NamedArray(prevent_fma(-rate * step.array, state.count), step.axes)

        count = optax.safe_increment(state.count)
        return map_rules(spec, scaled, params, updates), optax.ScaleByScheduleState(count)

    return optax.GradientTransformation(init, update)
