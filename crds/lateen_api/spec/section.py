"""What all sections of a job's spec have in common: spelling, strictness, durations."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"


class Section(BaseModel):
    """A part of a job's spec: immutable, camelCase in YAML, and unknown fields are errors."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        # JSON has no infinity, and no field a use for it.
        allow_inf_nan=False,
    )


def default_type(name: str) -> BeforeValidator:
    """Beside a union of Sections with `Field(discriminator="type")`: the type that is meant where it is left out.

    This Section has `type: Literal["…"] = "…"`. The others have no default there, so that the type of a section is
    among what differs from the defaults (`lateen_operator.resolve.digest`). `lateen_api.discriminated` says what the
    API server gets.
    """

    def fill_in(value: Any) -> Any:
        return {"type": name, **value} if isinstance(value, dict) and "type" not in value else value

    return BeforeValidator(fill_in)


def duration_seconds(text: str) -> float:
    """Seconds in a duration like `15m`, `90s` or `1h30m`.

    Raises:
        ValueError: the text is not a duration.
    """
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError("expected a duration such as 90s, 15m or 1h30m")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(text))


def _check_duration(text: str) -> str:
    duration_seconds(text)
    return text


Duration = Annotated[
    str, AfterValidator(_check_duration), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
]
"""A length of time as people write it: `90s`, `15m`, `1h30m`. `duration_seconds` reads it."""
