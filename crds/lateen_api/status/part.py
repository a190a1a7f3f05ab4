"""What all parts of the status share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A point in time by RFC 3339, as Kubernetes writes it: `2030-01-31T12:00:00Z`."""


class StatusPart(BaseModel):
    """A part of the status."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        # A status written by a newer operator is read, too.
        extra="ignore",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
