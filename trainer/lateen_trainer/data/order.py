"""Which sequences form the batch of a step: a pure function of (seed, step), in constant memory.

Each epoch is a permutation of all sequences, computed item by item by a Feistel network over the
mixed-radix domain a × b ≥ n (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002, method FE2):
position x = l + a·r, and rounds alternate l ← l + F(r) mod a and r ← r + F(l) mod b. Values from n on are
walked along their cycle until one below n appears, which keeps the whole a bijection of 0..n-1.
"""

import hashlib
import math

import numpy as np

_ROUNDS = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


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


class BatchOrder:
    """Epoch follows epoch without a seam: item k of the run is row k mod batch_size of step k // batch_size.

    Args:
        num_sequences: sequences of the data set.
        batch_size: sequences in a step.
        seed: another seed gives another order.
    """

    def __init__(self, num_sequences: int, batch_size: int, seed: int):
        if num_sequences < 1 or batch_size < 1:
            raise ValueError(f"{num_sequences} sequences in batches of {batch_size}: expected at least 1 of each")
        self.num_sequences = num_sequences
        self.batch_size = batch_size
        self.seed = seed

    def indices(self, step: int) -> np.ndarray:
        """The sequences of a step: int64 (batch_size,). In one epoch no sequence comes twice."""
        if step < 0:
            raise ValueError(f"step {step}: expected 0 or more")
        result = np.empty(self.batch_size, np.int64)
        done = 0
        while done < self.batch_size:
            epoch, position = divmod(step * self.batch_size + done, self.num_sequences)
            count = min(self.batch_size - done, self.num_sequences - position)
            permutation = Permutation(self.num_sequences, f"lateen order: seed {self.seed}, epoch {epoch}")
            result[done : done + count] = permutation(np.arange(position, position + count))
            done += count
        return result
