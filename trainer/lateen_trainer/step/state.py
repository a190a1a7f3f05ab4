"""The state of training, made in place on the mesh."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from lateen_trainer.mesh import ShardingRules
from lateen_trainer.models.layers import cast
from lateen_trainer.models.lora import split_trained

FLOAT32 = jnp.dtype("float32")

MakeModel = Callable[[], Any]
"""Makes a new LanguageModel."""

_FOR_RUNNING_ONCE = {"xla_backend_optimization_level": 1}
"""Of a program that runs once. LLVM's default takes three times as long to compile the random numbers."""


class TrainState(eqx.Module):
    """All that a step reads and writes, and so all that a checkpoint holds."""

    step: jax.Array  # [] int32: steps trained
    model: Any  # a LanguageModel with parameters in the type of `spec.trainer.mp`
    opt_state: optax.OptState  # in float32
    ema: Any = None
    """The running mean of the weights that are trained, in float32; None: there is none."""

    @staticmethod
    def init(
        make_model: MakeModel,
        optimizer: optax.GradientTransformation,
        *,
        has_ema: bool = False,
        param_dtype: jnp.dtype = FLOAT32,
    ) -> "TrainState":
        model: Any = make_model()
        trained, _ = split_trained(model)
        ema = jax.tree.map(jnp.copy, trained) if has_ema else None
        return TrainState(jnp.zeros((), jnp.int32), cast(model, param_dtype), optimizer.init(trained), ema)


def state_shapes(
    make_model: MakeModel,
    optimizer: optax.GradientTransformation,
    rules: ShardingRules,
    *,
    has_ema: bool = False,
    param_dtype: jnp.dtype = FLOAT32,
) -> TrainState:
    """Shapes and shardings of the state as ShapeDtypeStructs, without computing anything."""
    shapes = jax.eval_shape(lambda: TrainState.init(make_model, optimizer, has_ema=has_ema, param_dtype=param_dtype))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        rules.shardings(shapes),
    )


def init_state(
    make_model: MakeModel,
    optimizer: optax.GradientTransformation,
    rules: ShardingRules,
    *,
    has_ema: bool = False,
    param_dtype: jnp.dtype = FLOAT32,
) -> TrainState:
    """A new state, every device computing only its own shards. Values do not depend on the mesh."""

    def init() -> TrainState:
        return TrainState.init(make_model, optimizer, has_ema=has_ema, param_dtype=param_dtype)

    shardings = rules.shardings(jax.eval_shape(init))
    return jax.jit(init, out_shardings=shardings, compiler_options=_FOR_RUNNING_ONCE)()
