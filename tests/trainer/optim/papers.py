"""The optimizers' papers in NumPy, float64, one matrix or vector at a time: written from the formulas, not the code."""

from collections.abc import Callable

import numpy as np

Update = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""(parameters θ, gradient, step from 1) → θ of the next step."""


def adamw(lr: float, wd: float, b1: float, b2: float, eps: float) -> Update:
    """Loshchilov & Hutter, algorithm 2."""
    m = v = np.float64(0)

    def update(x, g, t):
        nonlocal m, v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        return x - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * x)

    return update


def lion(lr: float, wd: float, b1: float, b2: float) -> Update:
    """Chen et al., algorithm 2."""
    m = np.float64(0)

    def update(x, g, t):
        nonlocal m
        c = b1 * m + (1 - b1) * g
        m = b2 * m + (1 - b2) * g
        return x - lr * (np.sign(c) + wd * x)

    return update


def sophia(lr: float, wd: float, b1: float, b2: float, gamma: float, eps: float, k: int, estimate: Callable) -> Update:
    """Liu et al., algorithm 3; estimate(t) is the estimate of step t."""
    m = h = np.float64(0)

    def update(x, g, t):
        nonlocal m, h
        m = b1 * m + (1 - b1) * g
        if t % k == 1 or k == 1:
            h = b2 * h + (1 - b2) * estimate(t)
        x = x - lr * wd * x
        return x - lr * np.clip(m / np.maximum(gamma * h, eps), -1, 1)

    return update


def adafactor(lr: float, wd: float, rate: float, eps1: float, threshold: float, eps2: float, scaled: bool) -> Update:
    """Shazeer & Stern, algorithms 4 (matrices) and 5 (vectors)."""
    r = c = v = np.float64(0)

    def update(x, g, t):
        nonlocal r, c, v
        beta = 1 - t**-rate
        squares = g * g + eps1
        if x.ndim == 2:
            r = beta * r + (1 - beta) * squares.sum(1)
            c = beta * c + (1 - beta) * squares.sum(0)
            second = np.outer(r, c) / r.sum()
        else:
            v = beta * v + (1 - beta) * squares
            second = v
        u = g / np.sqrt(second)
        u = u / max(1.0, rms(u) / threshold)
        step = max(eps2, rms(x)) if scaled else 1.0
        return x - lr * (step * u + wd * x)

    return update


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def muon(lr: float, wd: float, momentum: float, steps: int, *, nesterov: bool, spectral: bool) -> Update:
    """Jordan's page; the scale of Liu et al. 2025, or that of the page. x is [inputs, outputs]."""
    b = np.float64(0)

    def update(x, g, t):
        nonlocal b
        b = momentum * b + g
        matrix = g + momentum * b if nesterov else b
        y = matrix / np.linalg.norm(matrix)
        if y.shape[0] > y.shape[1]:
            y = y.T
        for _ in range(steps):
            a = y @ y.T
            y = 3.4445 * y + (-4.7750 * a + 2.0315 * a @ a) @ y
        if matrix.shape[0] > matrix.shape[1]:
            y = y.T
        inputs, outputs = x.shape
        scale = max(1.0, outputs / inputs) ** 0.5 if spectral else 0.2 * max(inputs, outputs) ** 0.5
        return x - lr * (scale * y + wd * x)

    return update
