"""Quantities as Kubernetes writes them: `500m`, `4`, `16Gi`, `2e3`
(https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/)."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

QUANTITY_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
_DECIMAL = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {prefix + "i": 1024.0**power for power, prefix in enumerate("KMGTPE", start=1)}


def parse_quantity(text: str) -> float:
    """The number that a quantity stands for: `16Gi` is 17,179,869,184, `500m` is 0.5.

    Raises:
        ValueError: the text is no quantity.
    """
    match = re.fullmatch(QUANTITY_PATTERN, text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity such as 500m, 4 or 16Gi")
    number, _, suffix = match.groups()
    if suffix and suffix[0] in "eE" and len(suffix) > 1 and suffix != "Ei":
        return float(number + suffix)
    return float(number) * (_DECIMAL | _BINARY).get(suffix or "", 1.0)


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_quantity(text: str) -> str:
    parse_quantity(text)
    return text


Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text),
    AfterValidator(_check_quantity),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN}),
]
"""An amount of CPU or memory. Whole numbers may stand without quotes, as in Kubernetes. `parse_quantity` reads it."""
