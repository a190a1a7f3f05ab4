"""Muon's update for matrices, AdamW's for the rest."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from haliax import NamedArray
from jax.lax import optimization_barrier
from jax.sharding import PartitionSpec
from lateen_api.spec import MuonSpec

from lateen_trainer.mesh import DATA, MODEL, ShardingRules
from lateen_trainer.optim.adam import scale_by_adam
from lateen_trainer.optim.matrices import MatrixLayout
from lateen_trainer.optim.parameters import map_rules
from lateen_trainer.ordered import sum_of_squares
from lateen_trainer.rounding import prevent_fma

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the polynomial that drives singular values towards 1: Jordan et al., https://kellerjordan.github.io/posts/muon/."""

_EPSILON = 1e-7
"""Added to the norm of a matrix, which may be zero."""

TRIPS = 2
"""Least matrices that a device orthogonalises one after the other: XLA unrolls a loop of one trip, and fuses it with
what stands around it."""


class MuonState(NamedTuple):
    """What Muon keeps of matrices, and Adam of the others; None in the place of the others."""

    momentum: Any
    adam: Any  # optax.ScaleByAdamState


def scale_by_muon(spec: MuonSpec, rules: ShardingRules) -> optax.GradientTransformation:
    """The orthogonal factor of a matrix's momentum, scaled as the spec says; Adam's update of all that is no matrix.

    Momentum is m ← μ·m + g, and with `nesterov` the matrix that is orthogonalised is g + μ·m.
    """
    adam = scale_by_adam(spec.beta1, spec.beta2, spec.epsilon)

    def select(tree, params, *, matrices: bool):
        """The tree with None in the place of all but the matrices, or of the matrices."""
        return map_rules(spec, lambda rule, _, leaf: leaf if (rule.rule == "muon") == matrices else None, params, tree)

    def init(params):
        momentum = jax.tree.map(jnp.zeros_like, select(params, params, matrices=True))
        return MuonState(momentum, adam.init(select(params, params, matrices=False)))

    def update(updates, state, params=None):
        assert params is not None, "which parameters are matrices is told by the parameters"
        gradients = optimization_barrier(updates)
        adam_updates, adam_state = adam.update(select(gradients, params, matrices=False), state.adam)
        count = state.adam.count
        matrices = select(gradients, params, matrices=True)

        def add(g, m):
            return g + prevent_fma(spec.momentum * m, count)

        momentum = jax.tree.map(add, matrices, state.momentum)
        ahead = jax.tree.map(add, matrices, momentum) if spec.nesterov else momentum

        def combine(rule, parameter, matrix, other):
            return other if matrix is None else _orthogonalized(spec, matrix, rules, count)

        return map_rules(spec, combine, params, ahead, adam_updates), MuonState(momentum, adam_state)

    return optax.GradientTransformation(init, update)


def _orthogonalized(spec: MuonSpec, parameter: NamedArray, rules: ShardingRules, count: jax.Array) -> NamedArray:
    layout = MatrixLayout.of(parameter)
    factors = orthogonalize_all(layout.stack(parameter), spec.newton_schulz_steps, rules)
    scaled = prevent_fma(factors * scale_factor(spec, *layout.shape), count)
    return layout.unstack(scaled, parameter)


def scale_factor(spec: MuonSpec, rows: int, columns: int) -> float:
    """By what an orthogonalised matrix is multiplied.

    An orthogonal factor of n × m has the root mean square 1 / √max(n, m). `rms` makes it 0.2, about that of AdamW's
    updates: Liu et al., https://arxiv.org/abs/2502.16982, equation 4.
    """
    if spec.scale == "rms":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, columns / rows))


def orthogonalize_all(matrices: jax.Array, steps: int, rules: ShardingRules) -> jax.Array:
    """`orthogonalize` of each of [matrices, rows, columns].

    The matrices are dealt out to all devices, and each is computed whole on one of them, by a program that does not
    depend on their number.
    """
    count, devices = matrices.shape[0], rules.mesh.size
    missing = -count % (TRIPS * devices)
    padded = jnp.pad(matrices, [(0, missing), (0, 0), (0, 0)])

    def on_device(part: jax.Array) -> jax.Array:
        def separately(matrix: jax.Array) -> jax.Array:
            return optimization_barrier(orthogonalize(optimization_barrier(matrix), steps))

        return jax.lax.map(separately, part)

    place = PartitionSpec((DATA, MODEL))
    dealt = jax.shard_map(on_device, mesh=rules.mesh, in_specs=place, out_specs=place, check_vma=False)
    return dealt(padded)[:count]


def orthogonalize(matrix: jax.Array, steps: int) -> jax.Array:
    """About U·Vᵀ of a matrix U·S·Vᵀ, by a Newton-Schulz iteration; its singular values come to lie near 1.

    The products are of the smaller of the two sides: X ← a·X + (b·A + c·A²)·X with A = X·Xᵀ.

    Args:
        matrix: [rows, columns]
        steps: iterations; 5 bring singular values above 0.001 of the norm to between 0.7 and 1.2.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    norm = jnp.sqrt(sum_of_squares(x))
    x = x / (norm + _EPSILON)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.T
        # In a sum of two products a compiler may take either with the sum: here it may take the second only.
        polynomial = prevent_fma(b * gram, norm) + c * (gram @ gram)
        x = prevent_fma(a * x, norm) + polynomial @ x
    return x.T if is_tall else x
