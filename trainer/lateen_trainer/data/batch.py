"""What a step or an evaluation works on: sequences of tokens, and what of them counts."""

from typing import Any, NamedTuple

Array = Any
"""Of NumPy in memory, of JAX on the devices."""

PADDING = -1
"""Segment of what fills a sequence up behind its last document."""


class Batch(NamedTuple):
    """Sequences of S + 1 tokens: the first S are the inputs, the last S their targets.

    What is None is no part of the compiled program.
    """

    tokens: Array
    """[..., S + 1] int32."""

    segments: Array | None = None
    """[..., S + 1] int32: number of the document of each token in its sequence, in ascending order, or `PADDING`.
    Attention, positions and loss stay within a document. None: one document."""

    counted: Array | None = None
    """[..., S + 1] uint8: 1 where the loss of predicting the token counts, 0 where it does not. None: all count."""

    @property
    def is_partial(self) -> bool:
        """Whether some targets may not count."""
        return self.segments is not None or self.counted is not None

    def target_weights(self) -> Array:
        """[..., S] truth values: which targets count. A target in another document than its input does not.

        Only where `is_partial`.
        """
        weights = None if self.counted is None else self.counted[..., 1:] > 0
        if self.segments is None:
            assert weights is not None, "all targets count"
            return weights
        within = (self.segments[..., 1:] == self.segments[..., :-1]) & (self.segments[..., 1:] != PADDING)
        return within if weights is None else within & weights
