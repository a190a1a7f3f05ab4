"""Which sequences form the batch of a step: a pure function of (seed, step), in constant memory.

Each epoch, or each window of one, is a permutation of its sequences, computed item by item by a Feistel network over
the mixed-radix domain a × b ≥ n (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002, method FE2):
position x = l + a·r, and rounds alternate l ← l + F(r) mod a and r ← r + F(l) mod b. Values from n on are
walked along their cycle until one below n appears, which keeps the whole a bijection of 0..n-1.
"""

import functools
import hashlib
import math

import numpy as np

_ROUNDS = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

_BLOCK = 4096
"""Positions that are computed together and kept: arrays of a few items cost as much as these, and a batch is few."""

_BLOCK_WINDOWS = 16
"""Windows, at most, that such a block touches: each is a permutation of its own."""


class Permutation:
    """A bijection of 0..size-1 that is determined by its key.

    Args:
        size: 1 to 2^62.
        key: any text; another key gives another permutation.
    """

    def __init__(self, size: int, key: str):
        if not 1 <= size <= 1 << 62:
            raise ValueError(f"a permutation of {size} items: expected 1 to 2^62")
        self.size = size
        # a · b is at most size + 2·sqrt(size), so hardly any value has to walk.
        self._a = math.isqrt(size - 1) + 1
        self._b = -(-size // self._a)
        digest = hashlib.blake2b(key.encode(), digest_size=8 * _ROUNDS).digest()
        self._keys = np.frombuffer(digest, "<u8")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """The items at `positions`: int64 of the same shape."""
        return self._walk(positions, self._forward)

    def inverse(self, items: np.ndarray) -> np.ndarray:
        """The positions of `items`: int64 of the same shape."""
        return self._walk(items, self._backward)

    def _walk(self, values: np.ndarray, step) -> np.ndarray:
        values = np.asarray(values)
        if values.size and not (values.min() >= 0 and values.max() < self.size):
            raise IndexError(f"a value from {values.min()} to {values.max()} is outside 0..{self.size - 1}")
        result = step(values.astype(np.uint64))
        while (outside := result >= np.uint64(self.size)).any():
            result[outside] = step(result[outside])
        return result.astype(np.int64)

    def _forward(self, x: np.ndarray) -> np.ndarray:
        a, b = np.uint64(self._a), np.uint64(self._b)
        r, left = np.divmod(x, a)
        for number, key in enumerate(self._keys):
            if number % 2 == 0:
                left = (left + _hash(r, key) % a) % a
            else:
                r = (r + _hash(left, key) % b) % b
        return left + a * r

    def _backward(self, x: np.ndarray) -> np.ndarray:
        a, b = np.uint64(self._a), np.uint64(self._b)
        r, left = np.divmod(x, a)
        for number, key in reversed(list(enumerate(self._keys))):
            if number % 2 == 0:
                left = (left + (a - _hash(r, key) % a)) % a
            else:
                r = (r + (b - _hash(left, key) % b)) % b
        return left + a * r


def _hash(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """64 mixed bits of each value: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), modulo 2^64."""
    z = (values ^ key) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


class SequenceOrder:
    """The sequences of one source, epoch after epoch without a seam: which one stands at a position of the run.

    An epoch is a permutation of all sequences. With a window it is one of windows of `window` sequences, of which the
    last may be shorter: each is permuted within itself; the first epoch takes the windows as they lie in the stream,
    so that it can begin when the first one is there, and later epochs permute the windows too.

    Args:
        num_sequences: sequences of the source; None: not known yet. Then all windows are whole ones of the first
            epoch, and only positions in windows that are known to be there may be looked up.
        seed: another seed gives another order.
        window: sequences of a window; None: one window holds all.
        key: the source's name where a run has several, so that each has an order of its own.
    """

    def __init__(self, num_sequences: int | None, seed: int, window: int | None = None, key: str = ""):
        size = num_sequences if window is None else window
        if size is None:
            raise ValueError("a number of sequences that is not known: expected a window")
        if min(size, size if num_sequences is None else num_sequences) < 1:
            raise ValueError(f"{num_sequences} sequences in windows of {window}: expected at least 1 of each")
        self.num_sequences = num_sequences
        self.window = window
        self._size = size if num_sequences is None else min(num_sequences, size)
        self._windows: int | None = None
        self._last = self._size
        if num_sequences is not None:
            self._windows = -(-num_sequences // self._size)
            self._last = num_sequences - (self._windows - 1) * self._size
        self._name = f"lateen order: seed {seed}" + (f", source {key}" if key else "")
        self._block = min(_BLOCK, _BLOCK_WINDOWS * self._size)
        self._block_at = functools.lru_cache(maxsize=16)(self._compute_block)

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """The sequences at `positions`, which count on over epochs: int64 of the same shape, [positions]."""
        positions = np.asarray(positions, np.int64)
        if positions.size and positions.min() < 0:
            raise ValueError(f"position {positions.min()}: expected 0 or more")
        result = np.empty_like(positions)
        blocks = positions // self._block
        for block in np.unique(blocks).tolist():
            chosen = blocks == block
            result[chosen] = self._block_at(block)[positions[chosen] - block * self._block]
        return result

    def _compute_block(self, block: int) -> np.ndarray:
        """The sequences at the positions of a block: int64 [positions]."""
        positions = np.arange(block * self._block, (block + 1) * self._block)
        if self.num_sequences is None:
            return self._of_epoch(0, positions)
        epochs, within = np.divmod(positions, self.num_sequences)
        result = np.empty_like(positions)
        for epoch in np.unique(epochs).tolist():
            chosen = epochs == epoch
            result[chosen] = self._of_epoch(epoch, within[chosen])
        return result

    def _of_epoch(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        slots, within = self._place(epoch, positions)
        result = np.empty_like(positions)
        for slot in np.unique(slots).tolist():
            window = self._window_at(epoch, slot)
            chosen = slots == slot
            # The first window has the key of a whole epoch: a data set that fits into it has the order of `full`.
            name = f"{self._name}, epoch {epoch}" + (f", window {window}" if window else "")
            size = self._size if self._windows is None or window < self._windows - 1 else self._last
            result[chosen] = window * self._size + Permutation(size, name)(within[chosen])
        return result

    def _place(self, epoch: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The window in time that each position of an epoch is in, and the position within that."""
        if self._windows is None or epoch == 0:
            return np.divmod(positions, self._size)
        # Behind the shorter window everything comes earlier than it would among windows of one size.
        shorter = int(self._permuted_windows(epoch, self._windows).inverse(np.array([self._windows - 1]))[0])
        behind = positions >= shorter * self._size + self._last
        return np.divmod(positions + np.where(behind, self._size - self._last, 0), self._size)

    def _window_at(self, epoch: int, slot: int) -> int:
        if epoch == 0 or self._windows is None:
            return slot
        return int(self._permuted_windows(epoch, self._windows)(np.array([slot]))[0])

    def _permuted_windows(self, epoch: int, windows: int) -> Permutation:
        return Permutation(windows, f"{self._name}, epoch {epoch}, windows")
