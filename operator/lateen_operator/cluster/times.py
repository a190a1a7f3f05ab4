"""Kubernetes' timestamps as seconds since the epoch."""

from lateen_operator.attempt_codec import seconds


def epoch(timestamp: str | None) -> float | None:
    """Seconds since the epoch; None for no time, and for the zero that stands for one that is not known."""
    at = seconds(timestamp) if timestamp else 0.0
    return at if at > 0 else None


CLOCKS_DIFFER_SECONDS = 1.0
"""By so much the times that two machines write down may be out of order: they are whole seconds."""
