"""Slopes of attention with linear biases: Press et al., https://arxiv.org/abs/2108.12409."""

import haliax as hax
import jax.numpy as jnp
import numpy as np
from haliax import Axis, NamedArray


def alibi_slopes(Heads: Axis, bias_max: float = 8.0) -> NamedArray:
    """The slope of each head, for `causal_attention`.

    Of n heads, n a power of two, head i (from 1) has 2^(-bias_max · i / n). Other numbers of heads take those of the
    next power of two: first every second one, from the second on, then those between, as MPT does.

    Returns:
        [Heads] float32.
    """
    power_of_two = 1 << (Heads.size - 1).bit_length()
    slopes = 2.0 ** (-bias_max * np.arange(1, power_of_two + 1) / power_of_two)
    if power_of_two != Heads.size:
        slopes = np.concatenate([slopes[1::2], slopes[::2]])[: Heads.size]
    return hax.named(jnp.asarray(slopes, jnp.float32), Heads)
