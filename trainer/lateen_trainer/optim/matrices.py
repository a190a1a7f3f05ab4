"""Parameters as matrices: which of their axes are rows, and which columns."""

import math
from dataclasses import dataclass

import haliax as hax
import jax
from haliax import Axis, NamedArray
from lateen_api.plan.parameter_rules import dimensions

from lateen_trainer.optim.parameters import axis_names


@dataclass(frozen=True)
class MatrixLayout:
    """The axes of a parameter that is a stack of matrices."""

    separate: tuple[Axis, ...]
    """Axes along which the matrices lie: layers, and q, k and v."""

    rows: tuple[Axis, ...]
    """The inputs of a linear layer."""

    columns: tuple[Axis, ...]
    """Its outputs."""

    @staticmethod
    def of(parameter: NamedArray) -> "MatrixLayout":
        """The layout of a parameter that has two dimensions."""
        rows, columns = dimensions(axis_names(parameter))
        axes = {axis.name: axis for axis in parameter.axes}
        inner = {*rows, *columns}
        return MatrixLayout(
            tuple(axis for axis in parameter.axes if axis.name not in inner),
            tuple(axes[name] for name in rows),
            tuple(axes[name] for name in columns),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a matrix."""
        rows, columns = (math.prod(axis.size for axis in axes) for axes in (self.rows, self.columns))
        return rows, columns

    def stack(self, parameter: NamedArray) -> jax.Array:
        """[matrices, rows, columns]"""
        ordered = parameter.rearrange((*self.separate, *self.rows, *self.columns))
        return ordered.array.reshape(-1, *self.shape)

    def unstack(self, matrices: jax.Array, like: NamedArray) -> NamedArray:
        """[matrices, rows, columns] as the parameter that they are of."""
        axes = (*self.separate, *self.rows, *self.columns)
        return hax.named(matrices.reshape([axis.size for axis in axes]), axes).rearrange(like.axes)
