"""Documents as sequences of their own: those that are too long are cut, short ones share a sequence.

A document that is longer than S + 1 tokens is cut into pieces of S + 1, of which neighbours share one token, so that
each token but the document's first is predicted once. Pieces are put into sequences by best fit, the longest first:
each goes where it leaves the least room. That is done for groups of consecutive documents, so that what a group becomes
depends on nothing outside it, and what lies near in the stream lies near in the sequences.

Pieces of one length are placed together, so that the work grows with the number of lengths and not with that of
documents: the idea is that of Krell et al., "Efficient Sequence Packing without Cross-contamination" (2021),
https://arxiv.org/abs/2107.02027.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lateen_trainer.data.batch import PADDING

GROUP = 4096
"""Sequences that the documents of a group would fill without any waste."""

ReadRuns = Callable[[np.ndarray, int], np.ndarray]
"""(starts [n], length) → [n, length] of an array of tokens, or of what is kept for each token."""


@dataclass(frozen=True)
class Packing:
    """Which pieces of a stream of tokens make each sequence."""

    seq_len: int
    """S: a sequence holds up to S + 1 tokens."""

    first: np.ndarray
    """[sequences + 1] int64: sequence i consists of the pieces from first[i] to before first[i + 1]."""

    starts: np.ndarray
    """[pieces] int64: the first token of each in the stream."""

    lengths: np.ndarray
    """[pieces] int32."""

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def fill(self) -> float:
        """Share of the sequences' targets that are tokens of the same document as their input."""
        return float((self.lengths - 1).sum() / max(1, len(self) * self.seq_len))

    def behind(self, tokens: int) -> "Packing":
        """The same where the stream begins with so many other tokens."""
        return dataclasses.replace(self, starts=self.starts + tokens)

    def segments(self, sequences: np.ndarray) -> np.ndarray:
        """The document of each token, or `PADDING`: int32 [sequences, S + 1]."""
        result = np.full((len(sequences), self.seq_len + 1), PADDING, np.int32)
        for row, sequence in zip(result, sequences.tolist(), strict=True):
            lengths = self.lengths[self.first[sequence] : self.first[sequence + 1]]
            row[: lengths.sum()] = np.repeat(np.arange(len(lengths)), lengths)
        return result

    def read(self, sequences: np.ndarray, runs: ReadRuns, dtype: type = np.int32) -> np.ndarray:
        """What an array of the stream holds for the tokens of sequences, 0 behind them: [sequences, S + 1].

        Pieces of one length are asked for together.
        """
        result = np.zeros((len(sequences), self.seq_len + 1), dtype)
        counts = self.first[sequences + 1] - self.first[sequences]
        rows = np.repeat(np.arange(len(sequences)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        pieces = np.repeat(self.first[sequences], counts) + within
        lengths = self.lengths[pieces].astype(np.int64)
        before = np.cumsum(lengths) - lengths
        columns = before - np.repeat(before[np.cumsum(counts) - counts], counts) if len(pieces) else before
        for length in np.unique(lengths).tolist():
            chosen = lengths == length
            places = columns[chosen][:, None] + np.arange(length)
            result[rows[chosen][:, None], places] = runs(self.starts[pieces[chosen]], length)
        return result


def pack(document_ends: np.ndarray, seq_len: int, group: int = GROUP) -> Packing:
    """Packs the documents of a stream. Documents of one token predict nothing and are left out.

    Args:
        document_ends: [documents] ascending numbers of tokens of the stream at the end of each.
        seq_len: S.
        group: see `GROUP`.
    """
    ends = np.asarray(document_ends).astype(np.int64)
    begins = np.concatenate([np.zeros(min(1, len(ends)), np.int64), ends[:-1]])
    starts, lengths = _pieces(begins, ends, seq_len)
    # A group ends with the first piece that begins behind its share of the stream.
    groups = starts // (group * (seq_len + 1))
    orders, sizes = [], []
    for number in np.unique(groups).tolist():
        first, last = np.searchsorted(groups, [number, number + 1])
        bins = best_fit_decreasing(lengths[first:last], seq_len + 1)
        order = np.argsort(bins, kind="stable")
        orders.append(first + order)
        sizes.append(np.bincount(bins))
    if not orders:
        return Packing(seq_len, np.zeros(1, np.int64), starts, lengths)
    order = np.concatenate(orders)
    first = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    return Packing(seq_len, first, starts[order], lengths[order])


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """The bin of each item, bins being numbered from 0 in the order in which they are opened: int64 [items].

    Items go from the longest to the shortest, those of one length in their order, each into the bin with the least room
    that it fits into, or into a new one.

    Args:
        lengths: [items] from 1 to capacity.
    """
    bins = np.empty(len(lengths), np.int64)
    by_length = np.argsort(-lengths.astype(np.int64), kind="stable")
    cuts = np.flatnonzero(np.diff(lengths[by_length])) + 1
    rooms: dict[int, np.ndarray] = {}
    open_rooms, opened = 0, 0  # bit r of the first: there is a bin with room for r
    for items in np.split(by_length, cuts) if len(lengths) else []:
        length = int(lengths[items[0]])
        while len(items):
            fitting = open_rooms >> length
            room = length + (fitting & -fitting).bit_length() - 1 if fitting else capacity
            # What is left of a bin is the least room of all, as long as another item fits into it.
            per_bin = room // length
            needed = -(-len(items) // per_bin)
            if fitting:
                used, left = np.split(rooms.pop(room), [needed])
                open_rooms &= ~(1 << room)
                if len(left):
                    rooms[room] = left
                    open_rooms |= 1 << room
            else:
                used = opened + np.arange(needed)
                opened += needed
            slots = np.repeat(used, per_bin)[: len(items)]
            bins[items[: len(slots)]], items = slots, items[len(slots) :]
            open_rooms |= _file(rooms, slots, room, length)
    return bins


def _file(rooms: dict[int, np.ndarray], slots: np.ndarray, room: int, length: int) -> int:
    """Files bins, which had some room before items of one length came, by the room that is left.

    Args:
        slots: the bin of each item.

    Returns:
        The rooms that these bins have now, as bits.
    """
    numbers, counts = np.unique(slots, return_counts=True)
    open_rooms = 0
    for count in np.unique(counts).tolist():
        rest = room - count * length
        if rest > 0:
            filed = numbers[counts == count]
            rooms[rest] = np.sort(np.concatenate([rooms[rest], filed])) if rest in rooms else filed
            open_rooms |= 1 << rest
    return open_rooms


def _pieces(begins: np.ndarray, ends: np.ndarray, seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of the pieces of documents, in the order of the stream."""
    targets = ends - begins - 1
    counts = np.maximum(0, -(-targets // seq_len))
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(begins, counts) + number * seq_len
    lengths = np.minimum(np.repeat(ends, counts) - starts, seq_len + 1)
    return starts, lengths.astype(np.int32)
