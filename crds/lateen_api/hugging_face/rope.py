"""Rotary positions in `config.json`: `rope_parameters` as transformers 5 writes them, `rope_theta` and `rope_scaling`
as earlier versions do."""

from collections.abc import Mapping
from typing import Any

from lateen_api.spec.rope import OPTIONAL_FIELDS, REQUIRED_FIELDS, RopeSpec

KEYS = ("rope_parameters", "rope_theta", "rope_scaling")
_THETA = 10_000.0
SCALED_BY_CONTEXT = ("dynamic", "yarn", "llama3")
"""Types that start from the context of the model, unless they name another."""


def read_rope(config: Mapping[str, Any], context: int) -> dict[str, Any]:
    """Fields of RopeSpec in a configuration.

    Args:
        config: content of config.json.
        context: the model's longest context there, from which some scalings start.

    Raises:
        ValueError: the scaling is none that lateen knows.
    """
    scaling = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta = scaling.pop("rope_theta", None) or config.get("rope_theta") or _THETA
    kind = scaling.pop("rope_type", None) or scaling.get("type") or "default"
    scaling.pop("type", None)
    if kind not in REQUIRED_FIELDS:
        raise ValueError(f"rope_type is {kind!r}: expected one of {', '.join(REQUIRED_FIELDS)}")
    if (partial := scaling.pop("partial_rotary_factor", None) or config.get("partial_rotary_factor") or 1.0) != 1.0:
        raise ValueError(f"partial_rotary_factor is {partial}: expected heads that are rotated whole, 1.0")
    known = REQUIRED_FIELDS[kind] | OPTIONAL_FIELDS[kind]
    fields = {name: value for name, value in scaling.items() if name in known and value is not None}
    if kind in SCALED_BY_CONTEXT:
        original = config.get("original_max_position_embeddings")
        fields.setdefault("original_max_position_embeddings", original or context)
    return {"type": kind, "theta": float(theta), **fields}


def write_rope(rope: RopeSpec) -> dict[str, Any]:
    """Keys of config.json, in a form that transformers 4 and 5 read."""
    fields = rope.model_dump(exclude_none=True, exclude={"type", "theta"})
    scaling = None if rope.type == "default" else {"rope_type": rope.type, **fields}
    return {"rope_theta": rope.theta, "rope_scaling": scaling}
