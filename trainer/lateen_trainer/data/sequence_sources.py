"""The training sequences of one cache: cut from the stream of its tokens, or packed from its documents.

Both number their sequences in the order of the stream, so that what is there while the cache is built can be read.
"""

import functools
import threading
from bisect import bisect_right
from typing import Protocol

import numpy as np

from lateen_trainer.data.batch import Batch
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.packing import Packing, pack
from lateen_trainer.data.sequences import count_sequences
from lateen_trainer.errors import UserError

_PACKINGS = 4096
"""Parts whose packing is kept in memory: some 20 bytes per document."""


class SequenceSource(Protocol):
    """Sequences by number. Safe to use from several threads at once."""

    cache: TokenCache
    seq_len: int
    """S"""

    field: str
    """The job's field that names the files, for messages: `spec.data.trainUrls`."""

    @property
    def ready(self) -> int:
        """Sequences from the first one on that can be read: all, where the cache is whole."""
        ...

    def read(self, indices: np.ndarray) -> Batch:
        """The sequences `indices` as arrays [indices, S + 1].

        Raises:
            DataError: the cache is damaged.
            IndexError: they are not there (yet).
        """
        ...


def sequence_source(
    cache: TokenCache, seq_len: int, packing: str = "concatenate", field: str | None = None
) -> SequenceSource:
    """The sequences of a cache as `spec.data.packing` wants them.

    Args:
        cache: of the source.
        seq_len: S.
        packing: `spec.data.packing`.
        field: the job's field that names the files, for messages; None: that of the only source.
    """
    kind = DocumentSequences if packing == "documents" else StreamSequences
    return kind(cache, seq_len, field or f"spec.data.{cache.split}Urls")


class StreamSequences:
    """Sequences of S targets, one behind the other: `sequences`."""

    def __init__(self, cache: TokenCache, seq_len: int, field: str):
        self.cache, self.seq_len, self.field = cache, seq_len, field

    @property
    def ready(self) -> int:
        """Sequences from the first one on that can be read."""
        return count_sequences(self.cache.tokens_ready, self.seq_len)

    def read(self, indices: np.ndarray) -> Batch:
        """The sequences `indices` as arrays [indices, S + 1]."""
        starts, length = indices * self.seq_len, self.seq_len + 1
        counted = self.cache.counted(starts, length) if self.cache.has_counted else None
        return Batch(self.cache.rows(starts, length), counted=counted)


class DocumentSequences:
    """Documents packed into sequences: `packing`. Each part of the cache is packed by itself."""

    def __init__(self, cache: TokenCache, seq_len: int, field: str):
        self.cache, self.seq_len, self.field = cache, seq_len, field
        self._ends: list[int] = []
        self._lock = threading.Lock()
        self._packing_of = functools.lru_cache(maxsize=_PACKINGS)(self._pack)

    @property
    def ready(self) -> int:
        """Sequences from the first one on that can be read."""
        with self._lock:
            for number in range(len(self._ends), len(self.cache.parts)):
                before = self._ends[-1] if self._ends else 0
                self._ends.append(before + len(self._packing_of(number)))
            return self._ends[-1] if self._ends else 0

    @property
    def fill(self) -> float:
        """Share of the targets of the sequences that are there that are tokens of their input's document."""
        packings = [self._packing_of(number) for number in range(len(self.cache.parts))]
        sequences = sum(len(packing) for packing in packings)
        return sum(packing.fill * len(packing) for packing in packings) / max(1, sequences)

    def read(self, indices: np.ndarray) -> Batch:
        """The sequences `indices` as arrays [indices, S + 1]."""
        if len(indices) and not (min(indices) >= 0 and max(indices) < self.ready):
            raise IndexError(f"sequences {min(indices)} to {max(indices)} of {self.cache.url}: {self.ready} are there")
        shape = (len(indices), self.seq_len + 1)
        tokens, segments = np.empty(shape, np.int32), np.empty(shape, np.int32)
        counted = np.empty(shape, np.uint8) if self.cache.has_counted else None
        parts = np.array([bisect_right(self._ends, index) for index in indices.tolist()], np.int64)
        for part in np.unique(parts).tolist():
            chosen = parts == part
            packing = self._packing_of(part)
            within = indices[chosen] - (self._ends[part - 1] if part else 0)
            tokens[chosen] = packing.read(within, self.cache.rows)
            segments[chosen] = packing.segments(within)
            if counted is not None:
                counted[chosen] = packing.read(within, self.cache.counted, np.uint8)
        return Batch(tokens, segments, counted)

    def _pack(self, number: int) -> Packing:
        """The packing of a part, whose pieces begin at tokens of the stream."""
        part = self.cache.parts[number]
        ends = self.cache.document_ends(part) - part.first_token
        return pack(ends, self.seq_len).behind(part.first_token)


def check_enough(source: SequenceSource, batch_size: int = 1) -> int:
    """The number of sequences of a whole source, at least `batch_size`.

    Raises:
        UserError: there are fewer.
    """
    cache, seq_len, sequences = source.cache, source.seq_len, source.ready
    if sequences < batch_size:
        needed = batch_size * seq_len + 1
        what = f"one batch of {batch_size} sequences" if batch_size > 1 else "one sequence"
        smaller = "seqLen or spec.trainer.trainBatchSize" if batch_size > 1 else "seqLen"
        verb = "hold" if source.field.endswith("Urls") else "holds"
        raise UserError(
            f"{source.field} {verb} {len(cache):,} tokens in {cache.ledger.documents:,} "
            f"documents, which make {sequences:,} sequences of {seq_len:,} tokens (spec.model.seqLen): "
            f"expected at least {needed:,} tokens for {what}. Add files, or make {smaller} smaller."
        )
    return sequences
