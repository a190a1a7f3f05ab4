"""Rotary position embeddings (Su et al., https://arxiv.org/abs/2104.09864), with scaling to longer contexts.

Dimension i of a head and dimension i + head_size / 2 are the two coordinates of pair i, as in `transformers`; the pair
at position p is turned by p · frequency i. Frequencies, angles, sines and cosines are float32 whatever the compute
type: in bfloat16 the positions above 256 could not be told apart. They are computed from the spec and never trained.
"""

import math

import equinox as eqx
import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
from haliax import Axis, NamedArray
from lateen_api.spec.rope import RopeSpec

BETA_FAST, BETA_SLOW = 32.0, 1.0
"""Turns in the original context above which yarn does not scale a pair, and below which it scales by all of factor."""


class RotaryTables(eqx.Module):
    """Cosines and sines of all positions, for both halves of a head."""

    cos: NamedArray  # [..., HeadSize] float32
    sin: NamedArray  # [..., HeadSize] float32

    @jax.named_scope("rotary")
    def rotate(self, x: NamedArray) -> NamedArray:
        """Queries or keys, turned by their positions.

        Args:
            x: [..., head_size] with all axes of the positions, in any order.

        Returns:
            x's axes with head_size last, in x's type. It is computed in float32.
        """
        x = x.rearrange((..., "head_size"))
        first, second = jnp.split(x.array.astype(jnp.float32), 2, axis=-1)
        turned = hax.named(jnp.concatenate([-second, first], axis=-1), x.axes)
        return (x.astype(jnp.float32) * self.cos + turned * self.sin).rearrange(x.axes).astype(x.dtype)


@jax.named_scope("rotary_tables")
def rotary_tables(rope: RopeSpec, HeadSize: Axis, positions: NamedArray, *, length: int, context: int) -> RotaryTables:
    """Cosines and sines for `RotaryTables.rotate`. Compute them once per pass, outside the stack of layers.

    Args:
        HeadSize: the axis "head_size", of even size.
        positions: integers, [position] or [batch, position], from 0.
        length: tokens of the sequence; only `dynamic` depends on it, beyond the original context.
        context: the model's longest context, the default of `originalMaxPositionEmbeddings`.

    Returns:
        Tables [axes of positions, HeadSize].
    """
    frequencies = rotary_frequencies(rope, HeadSize.size, length=length, context=context)
    angles = positions.array[..., None].astype(jnp.float32) * jnp.tile(frequencies, 2)
    factor = attention_factor(rope)
    axes = (*positions.axes, HeadSize)
    return RotaryTables(hax.named(jnp.cos(angles) * factor, axes), hax.named(jnp.sin(angles) * factor, axes))


def rotary_frequencies(rope: RopeSpec, head_size: int, *, length: int, context: int) -> np.ndarray:
    """Radians per position of each pair: [head_size / 2] float32, computed in float64."""
    original = rope.original_max_position_embeddings or context
    exponents = np.arange(0, head_size, 2) / head_size
    frequencies = rope.theta**-exponents
    match rope.type:
        case "default":
            scaled = frequencies
        case "linear":
            scaled = frequencies / _given(rope.factor)
        case "dynamic":
            scaled = _dynamic_theta(rope, head_size, max(length, original), original) ** -exponents
        case "yarn":
            scaled = _yarn(rope, frequencies, original)
        case "llama3":
            scaled = _llama3(rope, frequencies, original)
    return scaled.astype(np.float32)


def attention_factor(rope: RopeSpec) -> float:
    """Factor of rotated queries and keys: the root of yarn's temperature 1/t of the scores; 1 for all other types.

    Equation 22 of Peng et al., https://arxiv.org/abs/2309.00071; with the two mscales as in DeepSeek-V2.
    """
    if rope.type != "yarn":
        return 1.0
    if rope.attention_factor is not None:
        return rope.attention_factor

    def magnitude(mscale: float) -> float:
        return 0.1 * mscale * math.log(_given(rope.factor)) + 1.0

    if rope.mscale is not None and rope.mscale_all_dim is not None:
        return magnitude(rope.mscale) / magnitude(rope.mscale_all_dim)
    return magnitude(1.0)


def _dynamic_theta(rope: RopeSpec, head_size: int, length: int, original: int) -> float:
    """theta such that the slowest pair turns as often in `length` as `factor` allows, the fastest as ever."""
    factor = _given(rope.factor)
    return rope.theta * (factor * length / original - (factor - 1)) ** (head_size / (head_size - 2))


def _yarn(rope: RopeSpec, frequencies: np.ndarray, original: int) -> np.ndarray:
    """NTK by parts (section 3.2 of the paper): a ramp over the pairs, from those that turn `betaFast` times in the
    original context, which stay as they are, to those that turn `betaSlow` times, which are divided by `factor`."""
    pairs = len(frequencies)

    def pair_that_turns(times: float) -> float:
        return pairs * math.log(original / (times * 2 * math.pi)) / math.log(rope.theta)

    low = pair_that_turns(rope.beta_fast or BETA_FAST)
    high = pair_that_turns(rope.beta_slow or BETA_SLOW)
    if rope.truncate is not False:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * pairs - 1)  # the upper bound counts dimensions, not pairs, as transformers
    if low == high:
        high += 0.001
    scaled = np.clip((np.arange(pairs) - low) / (high - low), 0, 1)
    return frequencies * (1 - scaled) + frequencies / _given(rope.factor) * scaled


def _llama3(rope: RopeSpec, frequencies: np.ndarray, original: int) -> np.ndarray:
    """Short wavelengths stay, long ones are multiplied by `factor`, between the bounds the two are blended."""
    low, high = _given(rope.low_freq_factor), _given(rope.high_freq_factor)
    turns = original * frequencies / (2 * math.pi)  # in the original context
    unscaled = np.clip((turns - low) / (high - low), 0, 1)
    return frequencies * unscaled + frequencies / _given(rope.factor) * (1 - unscaled)


def _given(value: float | None) -> float:
    """A field that the spec requires for its type."""
    if value is None:
        raise ValueError("the spec of the rotary embeddings lacks a field that its type needs")
    return value
