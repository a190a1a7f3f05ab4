"""Products and quotients that have the same rounding in every program.

Compilers contract a product and the sum that it goes into to one operation with one rounding. XLA for CPU does so
wherever it fuses the two, and what it fuses depends on the lengths of the arrays and on what stands around them: so
the same formula has other bits for shards of another length. Optimization barriers do not help, since they are gone
before XLA for CPU fuses.
"""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def prevent_fma(product: jax.Array, no_sign: jax.Array) -> jax.Array:
    """The product as it is, in float32. Its derivative is that of the product.

    An operation on its bits stands behind it that changes nothing, which no compiler knows: it adds the sign of a
    number that has none.

    Args:
        product: float32, of any shape.
        no_sign: what only the run shows to be not negative: float32 or int32, a scalar or of the product's shape.
    """
    nothing = jax.lax.shift_right_logical(jax.lax.bitcast_convert_type(no_sign, jnp.int32), 31)
    bits = jax.lax.bitcast_convert_type(product, jnp.int32)
    return jax.lax.bitcast_convert_type(bits ^ nothing, jnp.float32)


@prevent_fma.defjvp
def _prevent_fma_jvp(primals, tangents):
    return prevent_fma(*primals), tangents[0]


def divide_rows(x: jax.Array, divisors: jax.Array) -> jax.Array:
    """x · (1 / divisors): the quotient where many numbers have one divisor, as in a softmax.

    XLA writes the division of an array by a broadcast one in this way itself, but not in every program: in the second
    derivative of the loss it does so on one device, and not on several. So it is not left to it.

    Args:
        x: float32, of any shape.
        divisors: float32, of a shape that broadcasts to that of x.
    """
    return x * (1 / divisors)
