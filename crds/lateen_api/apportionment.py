"""Whole numbers of sequences for the sources of a mixture, by their weights: what the plan expects, and the trainer
lays out in blocks."""

from collections.abc import Mapping, Sequence
from fractions import Fraction


def shares(names: Sequence[str], weights: Mapping[str, float]) -> list[Fraction]:
    """The share of each name, exactly as the weights are written in decimals; a name without a weight has 0.

    Raises:
        ValueError: a weight is negative, or none is above 0.
    """
    exact = [Fraction(str(weights.get(name, 0))) for name in names]
    if min(exact) < 0 or sum(exact) == 0:
        raise ValueError(f"weights {dict(weights)}: expected numbers of at least 0, one of them above 0")
    return [weight / sum(exact) for weight in exact]


def apportion(parts: Sequence[Fraction], total: int) -> list[int]:
    """Whole numbers that add up to `total`, each its part of it rounded up or down.

    Args:
        parts: shares, which add up to 1.
        total: what is divided.
    """
    most = [0 if part == 0 else total for part in parts]
    return apportion_between(parts, total, [0] * len(parts), most)


def apportion_between(parts: Sequence[Fraction], total: int, low: Sequence[int], high: Sequence[int]) -> list[int]:
    """The same, each number from `low` to `high`.

    Numbers are rounded down, and those with the largest remainders up (Hamilton's method); equal ones in their order.
    """
    exact = [part * total for part in parts]
    counts = [min(max(int(x), a), b) for x, a, b in zip(exact, low, high, strict=True)]
    while (missing := total - sum(counts)) != 0:
        sign = 1 if missing > 0 else -1
        ends = high if sign > 0 else low
        free = [i for i, count in enumerate(counts) if count != ends[i]]
        free.sort(key=lambda i: sign * (counts[i] - exact[i]))
        for i in free[: abs(missing)]:
            counts[i] += sign
    return counts
