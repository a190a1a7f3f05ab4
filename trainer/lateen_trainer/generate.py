"""Text from a model, for people to look at."""

import functools
from collections.abc import Sequence

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
from haliax import Axis
from jaxtyping import PRNGKeyArray


def sample(
    model,
    prompt: Sequence[int],
    *,
    length: int,
    key: PRNGKeyArray,
    temperature: float = 0.8,
    stop: int | None = None,
) -> np.ndarray:
    """Tokens that the model continues the prompt with.

    Every process of the run must call it, as parameters are divided over all of them; all get the same tokens.

    Args:
        prompt: at least one token; prompt and continuation must fit into the model's context, where that has an end.
        length: tokens to draw.
        temperature: 1 draws from the model's distribution, less is more cautious, 0 takes the likeliest.
        stop: token at which the text ends (it is left out).

    Returns:
        [n] int32, n <= length
    """
    limit = model.config.longest_context
    if len(prompt) == 0:
        raise ValueError("an empty prompt: expected at least one token")
    if limit is not None and len(prompt) + length > limit:
        raise ValueError(f"prompt of {len(prompt)} and {length} new tokens do not fit into {limit} positions")
    window = np.zeros(max(model.config.Pos.size, len(prompt) + length), np.int32)
    window[: len(prompt)] = prompt
    filled = _continue(model, window, len(prompt), length, key, temperature)
    drawn = np.asarray(filled)[len(prompt) : len(prompt) + length]
    if stop is not None and (ends := np.flatnonzero(drawn == stop)).size:
        drawn = drawn[: ends[0]]
    return drawn


@functools.partial(jax.jit, static_argnames=("length", "temperature"))
def _continue(model, window: jax.Array, start: int, length: int, key: PRNGKeyArray, temperature: float) -> jax.Array:
    """Fills window[start : start + length]. Each token is one pass over the whole window: simple, and quick enough
    for a sample; what lies behind a position cannot reach it."""
    Batch = Axis("batch", 1)

    def draw(i, window):
        tokens = hax.named(window[None, :], (Batch, Axis("position", window.shape[0])))
        hidden = model.hidden(tokens)["position", start + i - 1]
        logits = hax.dot(hidden, model.lm_head, axis="embed").array[0].astype(jnp.float32)
        logits = logits[: model.config.vocab_size]
        if temperature == 0:
            token = jnp.argmax(logits)
        else:
            token = jax.random.categorical(jax.random.fold_in(key, i), logits / temperature)
        return window.at[start + i].set(token.astype(jnp.int32))

    return jax.lax.fori_loop(0, length, draw, jnp.asarray(window))
