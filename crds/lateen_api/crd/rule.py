"""One rule of the API server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One CEL expression over `self` that must be true. With `oldSelf` in it, it is asked on updates only."""

    rule: str
    message: str
    field_path: str | None = None
    """The field to name, where the rule stands above it: `.spec.model`."""
