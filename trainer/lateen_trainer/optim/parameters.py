"""The parameters of a model one by one, each with what the spec says of it."""

from collections.abc import Callable
from typing import Any

import jax
from haliax import NamedArray
from haliax.util import is_named_array
from lateen_api.plan.parameter_rules import ParameterRule, parameter_rule
from lateen_api.spec import OptimizerSpec

MODEL = "model"
"""Field of the training state that holds the model: parameters are called as checkpoints call them."""


def name_of(path: tuple[Any, ...]) -> str:
    """The name of a parameter by its path in the model: `model.blocks.blocks.mlp.c_fc.weight`."""
    return f"{MODEL}.{jax.tree_util.keystr(path, simple=True, separator='.')}"


def map_named(function: Callable[..., Any], model: Any, *others: Any) -> Any:
    """function(name, parameter, …) of every parameter.

    Args:
        function: of a name, a NamedArray of the model, and what stands in its place in each of `others`.
        model: a pytree of NamedArrays.
        others: trees with anything in the place of each parameter, None too.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(model, is_leaf=is_named_array)
    columns = [structure.flatten_up_to(other) for other in others]
    return structure.unflatten(
        [function(name_of(path), leaf, *rest) for (path, leaf), *rest in zip(leaves, *columns, strict=True)]
    )


def map_rules(spec: OptimizerSpec, function: Callable[..., Any], model: Any, *others: Any) -> Any:
    """As `map_named`, with the parameter's rule in place of its name."""

    def with_rule(name: str, parameter: NamedArray, *rest: Any) -> Any:
        return function(rule_of(spec, name, parameter), parameter, *rest)

    return map_named(with_rule, model, *others)


def rule_of(spec: OptimizerSpec, name: str, parameter: NamedArray) -> ParameterRule:
    """How the spec wants a parameter trained."""
    return parameter_rule(spec, name, axis_names(parameter))


def axis_names(parameter: NamedArray) -> tuple[str, ...]:
    """Names of the axes, in their order."""
    return tuple(axis.name for axis in parameter.axes)
