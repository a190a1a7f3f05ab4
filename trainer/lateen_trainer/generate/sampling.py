"""How the next token is drawn from the logits."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Sampling:
    """The distribution that tokens are drawn from: temperature first, then top-k, then top-p, as in `transformers`."""

    temperature: float = 1.0
    """Logits are divided by it: below 1 likely tokens become likelier; 0: always the likeliest one."""

    top_k: int | None = None
    """Only the k likeliest tokens; those that are as likely as the last of them too. None: all."""

    top_p: float = 1.0
    """Only the likeliest tokens that together have this probability (nucleus sampling: Holtzman et al.,
    https://arxiv.org/abs/1904.09751), at least one. 1: all."""


def draw(logits: jax.Array, keys: jax.Array, sampling: Sampling) -> jax.Array:
    """The next token of each sequence.

    Args:
        logits: [batch, vocab], without padding of the vocabulary.
        keys: [batch] random keys.

    Returns:
        [batch] int32
    """
    if sampling.temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return jax.vmap(jax.random.categorical)(keys, restricted(logits, sampling)).astype(jnp.int32)


def restricted(logits: jax.Array, sampling: Sampling) -> jax.Array:
    """Logits of the distribution that is drawn from, whose temperature is not 0.

    Args:
        logits: [batch, vocab]

    Returns:
        [batch, vocab] float32; −inf for tokens that are not drawn.
    """
    logits = logits.astype(jnp.float32) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, sampling.top_k)[0][:, -1:]
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    if sampling.top_p < 1:
        logits = _nucleus(logits, sampling.top_p)
    return logits


def _nucleus(logits: jax.Array, top_p: float) -> jax.Array:
    """A token is in it if those before it, from the likeliest on, have less than top_p together."""
    order = jnp.argsort(logits, axis=-1, descending=True, stable=True)
    probabilities = jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), order, axis=-1)
    inside = jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
    inside = inside.at[:, 0].set(True)
    return jnp.where(jnp.take_along_axis(inside, jnp.argsort(order, axis=-1), axis=-1), logits, -jnp.inf)
