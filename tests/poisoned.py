"""Text with one token that no model knows, so that the loss is NaN on the one batch that holds it.

No part of the trainer is replaced for this: the cache on disk is a whole one, of the text's own fingerprint, in which
one token's number lies beyond the vocabulary. Its embedding is NaN.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from batch_order import BatchOrder
from lateen_api.spec import DataSpec
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.sequences import count_sequences
from lateen_trainer.data.tokenizer import ByteTokenizer

POISON = 0xFF
"""The byte whose token is the unknown one."""


class PoisonedTokenizer(ByteTokenizer):
    """Bytes, but for one."""

    def encode_batch(self, texts: Sequence[str | bytes]) -> list[np.ndarray]:
        tokens = [array.astype(np.uint16) for array in super().encode_batch(texts)]
        return [np.where(array == POISON, 60_000, array).astype(np.uint16) for array in tokens]


def poisoned_text(
    path: Path, cache_dir: Path, batches: Sequence[int], *, sequences: int, seq_len: int, batch_size: int, seed: int = 0
) -> None:
    """Writes a text to train on, and a cache of it in which the given batches of the first epoch are poisoned.

    Args:
        path: of the text, one document in ASCII but for the poison.
        batches: their numbers. One sequence of each is poisoned, its first.
        sequences: length of the text in sequences, and so of an epoch.
    """
    text = np.random.default_rng(5).choice(np.frombuffer(b"abcdefgh ", np.uint8), sequences * seq_len)
    # With the end of text behind it there are as many sequences as asked for.
    assert count_sequences(len(text) + 1, seq_len) == sequences
    order = BatchOrder(sequences, batch_size, seed)
    for batch in batches:
        # Not its first token, which is the last of the sequence before it, too.
        text[order.indices(batch)[0] * seq_len + seq_len // 2] = POISON
    path.write_bytes(text.tobytes())
    spec = DataSpec(tokenizer="bytes", train_urls=[str(path)])
    open_or_build_cache(spec, "train", PoisonedTokenizer(), str(cache_dir), is_builder=True, progress=lambda _: None)
