"""Products that are never contracted."""

import jax
import numpy as np
from lateen_trainer.rounding import prevent_fma

NUMBERS = np.random.default_rng(0).standard_normal((2, 4096)).astype(np.float32)


def test_a_difference_to_the_product_is_none():
    """With one rounding for product and difference, what the product's rounding cut off would be left."""
    left, right = NUMBERS
    expected = left * right

    difference = jax.jit(lambda a, b, c, n: prevent_fma(a * b, n) - c)(left, right, expected, np.int32(3))

    np.testing.assert_array_equal(difference, np.zeros_like(expected))


def test_the_product_keeps_its_bits():
    product = np.array([0.0, -0.0, 1.5, -1.5, np.inf, -np.inf], np.float32)

    same = jax.jit(prevent_fma)(product, np.float32(2))

    np.testing.assert_array_equal(np.asarray(same).view(np.int32), product.view(np.int32))
