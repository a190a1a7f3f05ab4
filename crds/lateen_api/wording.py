"""How messages speak: of values, of what a field takes, of what somebody may have meant."""

import difflib
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from lateen_api.masking import masked
from lateen_api.quantities import QUANTITY_PATTERN
from lateen_api.schema import Schema
from lateen_api.spec.job import LONGEST_NAME, NAME_PATTERN
from lateen_api.spec.section import DURATION_PATTERN, OBJECT_NAME_PATTERN

_LONGEST_VALUE = 60


def show(value: Any) -> str:
    """A value as it would stand in YAML, cut at 60 characters."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    # Masked before it is cut: of a URL that ends within its password nobody could tell that it has one.
    text = masked(f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str))
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def listing(words: Sequence[object], joint: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {joint} {texts[-1]}"


def expected(schema: Schema) -> str:
    """What a field takes: `a whole number of at least 1`, `one of cosine or linear`, …"""
    text = _expected(schema)
    return f"{text}, or null" if schema.get("nullable") else text


def _expected(schema: Schema) -> str:
    if "enum" in schema:
        return ("one of " if len(schema["enum"]) > 1 else "") + listing(schema["enum"])
    if schema.get("pattern") == QUANTITY_PATTERN:
        return "a quantity such as 500m, 4 or 16Gi"
    match schema.get("type"):
        case "integer":
            return f"a whole number{_range(schema)}"
        case "number":
            return f"a number{_range(schema)}"
        case "boolean":
            return "true or false"
        case "string":
            return _text(schema)
        case "array":
            return f"a list of {_plural(schema['items'])}"
        case "object" if "properties" in schema:
            return f"a section with fields such as {listing(list(schema['properties'])[:3], 'and')}"
        case "object" if "additionalProperties" in schema:
            return f"a mapping from names to {_plural(schema['additionalProperties'])}"
        case "object":
            return "a mapping"
        case _:
            return "any value"


def _text(schema: Schema) -> str:
    match schema.get("pattern"):
        case p if p == DURATION_PATTERN:
            return "a duration such as 90s, 15m or 1h30m"
        case p if p == NAME_PATTERN:
            return f"at most {LONGEST_NAME} lower-case letters, digits and '-', a letter first and no '-' at the end"
        case p if p == OBJECT_NAME_PATTERN:
            return f"at most {schema['maxLength']} lower-case letters, digits, '-' and '.', none of these two at an end"
        case _:
            return "a text"


def _plural(schema: Schema) -> str:
    names = {"string": "texts", "integer": "whole numbers", "number": "numbers", "boolean": "truth values"}
    return names.get(schema.get("type", ""), "sections" if "properties" in schema else "mappings")


def _range(schema: Schema) -> str:
    """` of at least 1`, ` above 0 and below 1`, ` from 0 to 1`."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum", False), schema.get("exclusiveMaximum", False)
    if schema["type"] == "integer" and high is not None and below:
        high, below = high - 1, False
    if low is not None and high is not None and not above and not below:
        return f" from {_number(low)} to {_number(high)}"
    parts = []
    if low is not None:
        parts.append(f"above {_number(low)}" if above else f"of at least {_number(low)}")
    if high is not None:
        parts.append(f"below {_number(high)}" if below else f"of at most {_number(high)}")
    return " " + " and ".join(parts) if parts else ""


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value:,}"


def camel_case(name: str) -> str:
    """`train_batch_size` and `train-batch-size` → `trainBatchSize`; other names stay as they are."""
    return re.sub(r"[_-]+([a-zA-Z0-9])", lambda match: match.group(1).upper(), name)


def closest(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate that somebody who wrote `word` most likely meant; None: none is near. Case does not count."""
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=cutoff)
    return by_lower_case[matches[0]] if matches else None
