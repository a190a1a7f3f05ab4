"""Tokens from a model: the prompt in one pass, then a token per pass, by two compiled programs."""

import functools
from collections.abc import Iterator, Sequence, Set
from typing import Any

import haliax as hax
import jax
import jax.numpy as jnp
import numpy as np
from haliax import Axis
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray

from lateen_trainer.generate.sampling import Sampling, draw

ENDED = -1
"""In the place of the tokens of a sample that has ended."""

_PROMPT_MULTIPLE = 64
"""Prompts are filled up to a multiple of it, so that those of different lengths share programs."""


def generate(
    model: Any,
    prompt: Sequence[int],
    *,
    length: int,
    key: PRNGKeyArray,
    sampling: Sampling,
    samples: int = 1,
    stops: Set[int] = frozenset(),
    vocab_size: int | None = None,
    capacity: int | None = None,
) -> Iterator[np.ndarray]:
    """Continues a prompt, several times at once.

    Every process of a run must call it and take all tokens, as parameters are divided over all of them; all get the
    same ones. A sample is the same whatever the number of samples beside it.

    Args:
        model: a `LanguageModel`.
        prompt: at least one token.
        length: tokens to draw, at most.
        samples: continuations of the prompt.
        stops: tokens that end a sample.
        vocab_size: only tokens below it are drawn; None: all of the model's vocabulary.
        capacity: tokens of the longest prompt and its continuation, where several are to share programs.

    Yields:
        The next token of each sample: [samples] int32. A token of `stops` is the last one; `ENDED` follows. It ends
        when all samples have ended.

    Raises:
        ValueError: the prompt is empty, or does not fit into the model's context with the new tokens.
    """
    capacity = max(capacity or 0, len(prompt) + length)
    limit = model.config.longest_context
    if len(prompt) == 0:
        raise ValueError("an empty prompt: expected at least one token")
    if limit is not None and capacity > limit:
        raise ValueError(f"prompt of {len(prompt)} and {length} new tokens do not fit into {limit} positions")
    if length < 1:
        return
    filled = -(-len(prompt) // _PROMPT_MULTIPLE) * _PROMPT_MULTIPLE
    first = np.zeros((1, filled if limit is None else min(filled, limit)), np.int32)
    first[0, : len(prompt)] = prompt
    options = {
        "sampling": sampling,
        "vocab_size": min(vocab_size or model.config.vocab_size, model.config.vocab_size),
        "replicated": _replicated(model),
    }
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(samples))
    tokens, cache = _first(model, first, len(prompt), keys, capacity=capacity, **options)
    has_ended = np.zeros(samples, bool)
    for number in range(1, length + 1):
        drawn = np.where(has_ended, ENDED, np.asarray(tokens))
        yield drawn
        has_ended |= np.isin(drawn, [*stops, ENDED])
        if has_ended.all() or number == length:
            return
        tokens, cache = _next(model, tokens, cache, keys, number, **options)


@functools.partial(jax.jit, static_argnames=("capacity", "sampling", "vocab_size", "replicated"))
def _first(
    model: Any,
    prompt: jax.Array,
    count: jax.Array | int,
    keys: jax.Array,
    *,
    capacity: int,
    sampling: Sampling,
    vocab_size: int,
    replicated: NamedSharding | None,
) -> tuple[jax.Array, Any]:
    """The token of each sample behind the first `count` ones of a prompt [1, position], and the samples' cache."""
    Batch = Axis("batch", 1)
    tokens = hax.named(prompt, (Batch, Axis("position", prompt.shape[1])))
    hidden, cache = model.hidden_cached(tokens, model.init_cache(Batch, capacity), count)
    logits = _logits(model, hidden["position", count - 1], vocab_size)
    samples = Axis("batch", keys.shape[0])
    logits = jnp.broadcast_to(logits, (samples.size, vocab_size))
    return _draw(logits, keys, 0, sampling, replicated), cache.repeat(samples)


@functools.partial(jax.jit, static_argnames=("sampling", "vocab_size", "replicated"), donate_argnames=("cache",))
def _next(
    model: Any,
    tokens: jax.Array,
    cache: Any,
    keys: jax.Array,
    number: jax.Array | int,
    *,
    sampling: Sampling,
    vocab_size: int,
    replicated: NamedSharding | None,
) -> tuple[jax.Array, Any]:
    """The token of each sample behind `tokens` [batch], which is its new one of this number, and the cache with
    `tokens`."""
    axes = (Axis("batch", tokens.shape[0]), Axis("position", 1))
    hidden, cache = model.hidden_cached(hax.named(tokens[:, None], axes), cache)
    logits = _logits(model, hidden["position", 0], vocab_size)
    return _draw(logits, keys, number, sampling, replicated), cache


def _logits(model: Any, hidden: hax.NamedArray, vocab_size: int) -> jax.Array:
    """[batch, embed] → [batch, vocab] float32"""
    logits = hax.dot(hidden, model.lm_head, axis="embed").rearrange(("batch", "vocab")).array
    return logits[:, :vocab_size].astype(jnp.float32)


def _draw(
    logits: jax.Array, keys: jax.Array, number: jax.Array | int, sampling: Sampling, replicated: NamedSharding | None
) -> jax.Array:
    keys = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
    tokens = draw(logits, keys, sampling)
    return tokens if replicated is None else jax.lax.with_sharding_constraint(tokens, replicated)


def _replicated(model: Any) -> NamedSharding | None:
    """Every device has the tokens, and so every process; None: the model is on one device."""
    sharding = getattr(jax.tree.leaves(model)[0], "sharding", None)
    return NamedSharding(sharding.mesh, PartitionSpec()) if isinstance(sharding, NamedSharding) else None
