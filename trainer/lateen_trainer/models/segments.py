"""Several documents in one sequence, each computed as if it stood alone."""

import functools

import haliax as hax
import jax
import jax.numpy as jnp
from haliax import Axis, NamedArray

from lateen_trainer.models.attention import Attend, causal_attention


def positions(Pos: Axis, segments: NamedArray | None) -> NamedArray:
    """The position of each token in its document, from 0: [batch, Pos] int32; without segments [Pos].

    Args:
        segments: [batch, Pos] numbers of the documents, those of one document side by side.
    """
    in_sequence = hax.arange(Pos)
    if segments is None:
        return in_sequence
    numbers = segments.rearrange(("batch", "position")).array
    begins = jnp.pad(numbers[:, 1:] != numbers[:, :-1], [(0, 0), (1, 0)])
    start = jax.lax.cummax(jnp.where(begins, in_sequence.array, 0), axis=1)
    return hax.named(in_sequence.array - start, (segments.resolve_axis("batch"), Pos))


def position_embeddings(wpe: NamedArray, Pos: Axis, segments: NamedArray | None) -> NamedArray:
    """Learned embeddings of positions in documents: [batch, Pos, embed]; without segments [Pos, embed].

    Args:
        wpe: [position, embed], of at least Pos's size.
    """
    if segments is None:
        return wpe["position", hax.dslice(0, Pos)]
    return wpe.take("position", positions(Pos, segments))


def within_segments(segments: NamedArray | None) -> Attend:
    """Attention in which a token sees only those of its document."""
    return causal_attention if segments is None else functools.partial(causal_attention, segments=segments)
