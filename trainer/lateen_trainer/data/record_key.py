"""Where in a record the text or the messages are, and which field of the job says so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RecordKey:
    """A key of JSON objects, or the name of a table's column."""

    name: str

    field: str
    """The job's field that has the name, for messages: `spec.data.textKey`, `spec.data.configs.web.textKey`."""
