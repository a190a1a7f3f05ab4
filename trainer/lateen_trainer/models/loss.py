"""Cross entropy of next tokens from hidden states, without ever holding the logits of a whole batch.

The logits of a GPT-2 batch are larger than everything else in the step: 4 × 1,024 positions × 50,257 entries in
float32 are 823 MB. Here they exist for one chunk of positions at a time, and the chunk's gradients are taken while
its logits are at hand, so that nothing is computed twice (the idea is that of Liger's fused linear cross entropy:
Hsu et al., https://arxiv.org/abs/2410.10989).
"""

import functools

import jax
import jax.numpy as jnp
from haliax import NamedArray
from jaxtyping import PRNGKeyArray
from lateen_api.plan.memory import positions_in_a_chunk

from lateen_trainer.rounding import divide_rows


@jax.named_scope("loss")
def next_token_losses(
    hidden: NamedArray,
    lm_head: NamedArray,
    targets: NamedArray,
    weights: NamedArray,
    *,
    vocab_size: int | None = None,
) -> jax.Array:
    """Σ weight · (−log softmax(hidden · lm_headᵀ)[target]), a float32 scalar.

    Args:
        hidden: [Batch, Pos, Embed]
        lm_head: [Vocab, Embed]
        targets: [Batch, Pos] integers below vocab_size
        weights: [Batch, Pos] float32; 0 leaves a position out
        vocab_size: entries of the vocabulary, from the first on; those of Vocab behind them are padding, and outside
            the softmax. None: all.
    """
    embed = hidden.resolve_axis("embed")
    rows = hidden.rearrange((..., embed)).array.reshape(-1, embed.size)
    return _weighted_loss(
        vocab_size or lm_head.resolve_axis("vocab").size,
        rows,
        lm_head.rearrange(("vocab", "embed")).array,
        targets.array.reshape(-1),
        weights.array.reshape(-1),
    )


def draw_labels(
    hidden: NamedArray, lm_head: NamedArray, key: PRNGKeyArray, *, vocab_size: int | None = None
) -> NamedArray:
    """[Batch, Pos] int32 labels from the model's own distribution, softmax(hidden · lm_headᵀ).

    They are drawn by adding Gumbel noise to the logits and taking the largest. Nothing is differentiated.

    Args:
        hidden: [Batch, Pos, Embed]
        lm_head: [Vocab, Embed]
        vocab_size: as for `next_token_losses`: padding is never drawn.
    """
    embed = hidden.resolve_axis("embed")
    ordered = hidden.rearrange((..., embed))
    rows = jax.lax.stop_gradient(ordered.array).reshape(-1, embed.size)
    head = jax.lax.stop_gradient(lm_head.rearrange(("vocab", "embed")).array)
    (chunks,) = _chunks(head.shape[0], rows)

    def draw(_, inputs):
        number, rows = inputs
        logits = jnp.einsum("nd,vd->nv", rows, head, preferred_element_type=jnp.float32)
        logits = _without_padding(logits, vocab_size or head.shape[0])
        noise = jax.random.gumbel(jax.random.fold_in(key, number), logits.shape)
        return None, jnp.argmax(logits + noise, axis=-1).astype(jnp.int32)

    _, labels = jax.lax.scan(draw, None, (jnp.arange(chunks.shape[0]), chunks))
    axes = ordered.axes[:-1]
    return NamedArray(labels.reshape(-1)[: rows.shape[0]].reshape([axis.size for axis in axes]), axes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weighted_loss(
    vocab_size: int, hidden: jax.Array, head: jax.Array, targets: jax.Array, weights: jax.Array
) -> jax.Array:
    """hidden [N, D], head [V, D], targets [N], weights [N] → scalar"""

    def chunk(total, inputs):
        rows, labels, factors = inputs
        loss, _ = _chunk_loss(vocab_size, rows, head, labels, factors)
        return total + loss, None

    total, _ = jax.lax.scan(chunk, jnp.float32(0), _chunks(head.shape[0], hidden, targets, weights))
    return total


def _weighted_loss_fwd(vocab_size, hidden, head, targets, weights):
    def chunk(carry, inputs):
        total, head_gradient = carry
        rows, labels, factors = inputs
        loss, gradient = _chunk_loss(vocab_size, rows, head, labels, factors)
        gradient = gradient.astype(rows.dtype)
        rows_gradient = gradient @ head
        head_gradient = head_gradient + jnp.einsum("nv,nd->vd", gradient, rows, preferred_element_type=jnp.float32)
        return (total + loss, head_gradient), rows_gradient

    start = (jnp.float32(0), jnp.zeros(head.shape, jnp.float32))
    (total, head_gradient), rows_gradient = jax.lax.scan(chunk, start, _chunks(head.shape[0], hidden, targets, weights))
    rows_gradient = rows_gradient.reshape(-1, hidden.shape[1])[: hidden.shape[0]]
    return total, (rows_gradient, head_gradient.astype(head.dtype))


def _weighted_loss_bwd(vocab_size, residuals, g):
    rows_gradient, head_gradient = residuals
    scale = lambda gradient: (gradient * g).astype(gradient.dtype)  # noqa: E731
    return scale(rows_gradient), scale(head_gradient), None, None


_weighted_loss.defvjp(_weighted_loss_fwd, _weighted_loss_bwd)


def _chunk_loss(vocab_size, rows, head, labels, factors):
    """Loss of some positions, and its gradient with respect to their logits [n, V]."""
    logits = jnp.einsum("nd,vd->nv", rows, head, preferred_element_type=jnp.float32)
    logits = _without_padding(logits, vocab_size)
    top = jnp.max(logits, axis=-1, keepdims=True)
    exponentials = jnp.exp(logits - top)
    normaliser = jnp.sum(exponentials, axis=-1, keepdims=True)
    label_logits = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    losses = (top + jnp.log(normaliser) - label_logits)[:, 0]
    is_label = jnp.arange(head.shape[0])[None, :] == labels[:, None]
    gradient = (divide_rows(exponentials, normaliser) - is_label) * factors[:, None]
    # A position that is left out counts nothing even where its loss is not finite.
    return jnp.sum(jnp.where(factors == 0, 0, losses * factors)), gradient


def _without_padding(logits: jax.Array, vocab_size: int) -> jax.Array:
    """Logits [n, V], −inf behind the entries of the vocabulary."""
    if vocab_size == logits.shape[-1]:
        return logits
    return jnp.where(jnp.arange(logits.shape[-1]) < vocab_size, logits, -jnp.inf)


def _chunks(vocab: int, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Arrays [N, …] as [chunks, n, …], filled up with zeros (so with weight 0)."""
    length = arrays[0].shape[0]
    size = positions_in_a_chunk(length, vocab)
    chunk_count = -(-length // size)
    missing = chunk_count * size - length
    padded = (jnp.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in arrays)
    return tuple(a.reshape(chunk_count, size, *a.shape[1:]) for a in padded)
