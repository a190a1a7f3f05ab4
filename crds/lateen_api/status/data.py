"""`status.data`: how far the pods of `spec.data.prepare` are."""

from pydantic import Field

from lateen_api.status.part import StatusPart, Timestamp


class DataStatus(StatusPart):
    """The token caches that the pods of `spec.data.prepare` build."""

    digest: str
    """Of the job's text that they build for."""

    ready: bool = False
    """What training begins with is tokenized."""

    whole: bool = False
    """All text is tokenized."""

    message: str | None = Field(default=None, max_length=1024)
    """How far they are, or why not, for people."""

    started: Timestamp
    """When they were created."""

    ready_time: Timestamp | None = None
    """When what training begins with was tokenized."""
