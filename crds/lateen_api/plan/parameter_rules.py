"""Which rule, learning rate and weight decay each parameter gets from `spec.optimizer`.

What counts is the role of a parameter, which its name and its named axes tell, not the rank of its array: a bias of
attention has the axes [layers, qkv, heads, head_size] and is no matrix. The plan lists what the trainer does, since
both ask here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby

from lateen_api.errors import JobError
from lateen_api.plan.architecture import Parameter
from lateen_api.spec import MuonSpec, OptimizerSpec, ParameterGroup
from lateen_api.wording import closest, show

SEPARATE_AXES = ("layers", "qkv")
"""Axes along which parameters lie side by side that are parameters of their own: those of all blocks, and the
projections to queries, keys and values."""

_ONE_DIMENSION = ("heads", "group", "head_size")
"""Axes that together are one dimension of a matrix: the outputs of all heads."""

_LOOKED_UP = ("vocab", "position")
"""Axes of embeddings and of the output layer."""


@dataclass(frozen=True)
class ParameterRule:
    """How one parameter is trained."""

    rule: str
    """The algorithm: a type of `spec.optimizer`, or adamw for what Muon leaves to it."""

    learning_rate: float
    """At its peak."""

    weight_decay: float


def dimensions(axes: Sequence[str]) -> list[tuple[str, ...]]:
    """The axes of one of the parameters that lie side by side in an array, those of all heads' outputs taken together.

    [layers, embed, qkv, heads, head_size] has the dimensions (embed,) and (heads, head_size).
    """
    own = [axis for axis in axes if axis not in SEPARATE_AXES]
    grouped = groupby(own, key=lambda axis: "heads" if axis in _ONE_DIMENSION else axis)
    return [tuple(members) for _, members in grouped]


def is_bias(name: str) -> bool:
    """Is it added, whatever its axes?"""
    return name.rpartition(".")[2] == "bias"


def is_matrix(name: str, axes: Sequence[str]) -> bool:
    """Has it two dimensions or more? Biases and the weights of norms have one."""
    return not is_bias(name) and len(dimensions(axes)) > 1


def is_factored(name: str, axes: Sequence[str]) -> bool:
    """Is it one of those of whose squares Adafactor keeps the means of rows and columns: a matrix?"""
    return is_matrix(name, axes) and len(dimensions(axes)) == 2


def is_orthogonalized(name: str, axes: Sequence[str]) -> bool:
    """Is it one of those that Muon is for: a matrix, but no embedding and not the output layer?"""
    return is_matrix(name, axes) and len(dimensions(axes)) == 2 and not any(axis in _LOOKED_UP for axis in axes)


def parameter_rule(spec: OptimizerSpec, name: str, axes: Sequence[str]) -> ParameterRule:
    """The rule of one parameter.

    Args:
        name: as checkpoints name it: `model.blocks.blocks.mlp.c_fc.weight`.
        axes: names of its axes, in their order.
    """
    rule, rate = spec.type, spec.learning_rate
    if isinstance(spec, MuonSpec) and not is_orthogonalized(name, axes):
        rule, rate = "adamw", spec.adam_learning_rate or spec.learning_rate
    decay = spec.weight_decay if is_matrix(name, axes) else 0.0
    group = group_of(spec.groups, name)
    if group is not None:
        rate = rate if group.learning_rate is None else group.learning_rate
        decay = decay if group.weight_decay is None else group.weight_decay
    return ParameterRule(rule, rate, decay)


def group_of(groups: Sequence[ParameterGroup], name: str) -> ParameterGroup | None:
    """The first group that matches a name."""
    return next((group for group in groups if fnmatchcase(name, group.match)), None)


def check_groups(spec: OptimizerSpec, parameters: Sequence[Parameter]) -> list[JobError]:
    """Groups without parameters: a name is misspelt, or a group before has them all."""
    names = [parameter.checkpoint_name for parameter in parameters]
    errors = []
    for number, group in enumerate(spec.groups):
        where = f"spec.optimizer.groups[{number}].match"
        if not any(fnmatchcase(name, group.match) for name in names):
            meant = closest(group.match.strip("*"), names, cutoff=0.3) or names[0]
            errors.append(
                JobError(
                    where,
                    f"{show(group.match)} matches no parameter: expected a pattern of names such as {meant}. "
                    "`lateen plan` without the group lists them.",
                )
            )
        elif not any(group_of(spec.groups, name) is group for name in names):
            errors.append(
                JobError(
                    where,
                    f"{show(group.match)} matches parameters of earlier groups only: expected others. "
                    "Put the group before them, or remove it.",
                )
            )
    return errors


def state_size(spec: OptimizerSpec, name: str, axes: Mapping[str, int]) -> int:
    """Numbers that the optimizer keeps for a parameter: running means, most of them.

    Args:
        axes: its named axes and their sizes.
    """
    size = math.prod(axes.values())
    match spec.type:
        case "lion":
            return size
        case "muon" if is_orthogonalized(name, tuple(axes)):
            return size
        case "adafactor" if is_factored(name, tuple(axes)):
            rows, columns = (math.prod(axes[axis] for axis in dimension) for dimension in dimensions(tuple(axes)))
            return size // columns + size // rows
        case "adafactor":
            return size
        case _:
            return 2 * size
