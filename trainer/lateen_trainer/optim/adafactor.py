"""Adafactor's update."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from haliax import NamedArray
from jax.lax import optimization_barrier
from lateen_api.plan.parameter_rules import SEPARATE_AXES, is_factored
from lateen_api.spec import AdafactorSpec

from lateen_trainer.mesh import ShardingRules
from lateen_trainer.optim.matrices import MatrixLayout
from lateen_trainer.optim.parameters import axis_names, map_named
from lateen_trainer.ordered import mean_of_squares, mean_over
from lateen_trainer.rounding import prevent_fma


class AdafactorState(NamedTuple):
    """Running means of squares: of a matrix those of its rows and columns, of all else one for each number.

    None stands where a parameter does not have the mean.
    """

    step: jax.Array  # [] int32: updates made
    rows: Any  # without the axes of columns
    columns: Any  # without the axes of rows
    squares: Any  # like the parameters


def scale_by_adafactor(spec: AdafactorSpec, rules: ShardingRules) -> optax.GradientTransformation:
    """Shazeer and Stern, https://arxiv.org/abs/1804.04235, algorithms 4 and 5, without the learning rate.

    Each layer of a stack, and each of q, k and v, is a parameter of its own.
    """

    def init(params):
        def part(function):
            return map_named(function, params)

        def rows(name, p):
            return _zeros(p, MatrixLayout.of(p).columns) if is_factored(name, axis_names(p)) else None

        def columns(name, p):
            return _zeros(p, MatrixLayout.of(p).rows) if is_factored(name, axis_names(p)) else None

        def squares(name, p):
            return None if is_factored(name, axis_names(p)) else _zeros(p, ())

        return AdafactorState(jnp.zeros([], jnp.int32), part(rows), part(columns), part(squares))

    def update(updates, state, params=None):
        assert params is not None, "the update depends on the size of the parameters"
        count = state.step + 1
        # The running means of step t decay by 1 - t^-0.8: in the first step they are its own.
        new_part = optimization_barrier(count.astype(jnp.float32) ** -spec.decay_rate)
        gradients = optimization_barrier(updates)

        def running(mean: NamedArray, latest: NamedArray) -> NamedArray:
            return NamedArray(mean.array + new_part * (latest.array - mean.array), mean.axes)

        def rows(_, p, g, mean):
            if mean is None:
                return None
            over = [axis.name for axis in MatrixLayout.of(p).columns]
            return running(mean, mean_of_squares(g, over, rules, spec.epsilon1))

        def columns(_, p, g, mean):
            if mean is None:
                return None
            over = [axis.name for axis in MatrixLayout.of(p).rows]
            return running(mean, mean_of_squares(g, over, rules, spec.epsilon1))

        def squares(_, p, g, mean):
            return None if mean is None else running(mean, mean_of_squares(g, (), rules, spec.epsilon1))

        new = optimization_barrier(
            AdafactorState(
                count,
                map_named(rows, params, gradients, state.rows),
                map_named(columns, params, gradients, state.columns),
                map_named(squares, params, gradients, state.squares),
            )
        )

        def step(_, p, g, row, column, square):
            normalized = _normalized(g, row, column, square, rules)
            own = [name for name in axis_names(p) if name not in SEPARATE_AXES]
            size = _spread(_root(mean_of_squares(normalized, own, rules)), p)
            clipped = normalized.array / jnp.maximum(1.0, size / spec.clipping_threshold)
            if spec.multiply_by_parameter_scale:
                scale = jnp.maximum(spec.epsilon2, _root(mean_of_squares(p, own, rules)).array)
                kept = [axis for axis in p.axes if axis.name in SEPARATE_AXES]
                clipped = prevent_fma(clipped * _spread(NamedArray(scale, tuple(kept)), p), count)
            return NamedArray(clipped, p.axes)

        return map_named(step, params, gradients, new.rows, new.columns, new.squares), new

    return optax.GradientTransformation(init, update)


def _normalized(
    gradient: NamedArray,
    row: NamedArray | None,
    column: NamedArray | None,
    square: NamedArray | None,
    rules: ShardingRules,
) -> NamedArray:
    """g / √v, where v of a matrix is row mean × column mean / mean of all."""
    if row is None or column is None:
        assert square is not None
        return NamedArray(gradient.array / jnp.sqrt(square.array), gradient.axes)
    over = [axis.name for axis in row.axes if axis not in column.axes]
    mean = _spread(mean_over(row, over, rules), row)
    relative = NamedArray(row.array / mean, row.axes)
    roots = _spread(_root(relative), gradient) * _spread(_root(column), gradient)
    return NamedArray(gradient.array / roots, gradient.axes)


def _zeros(parameter: NamedArray, without: tuple) -> NamedArray:
    axes = tuple(axis for axis in parameter.axes if axis not in without)
    return NamedArray(jnp.zeros([axis.size for axis in axes], parameter.dtype), axes)


def _root(array: NamedArray) -> NamedArray:
    # Not the reciprocal root, which compilers approximate, for vectors in another way than for what is left over.
    return NamedArray(jnp.sqrt(array.array), array.axes)


def _spread(array: NamedArray, like: NamedArray) -> jax.Array:
    """The array of the shape of another that has its axes among its own."""
    return array.broadcast_to(like.axes).array
