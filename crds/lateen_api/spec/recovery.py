"""`spec.recovery`: what happens when something goes wrong."""

from typing import Literal

from pydantic import Field

from lateen_api.spec.section import Duration, Section


class RecoverySpec(Section):
    """What happens when something goes wrong. Each kind of failure has a budget of its own."""

    max_failures: int = Field(default=3, ge=0)
    """Restarts after errors of the job's own (exceptions, bad data). Also how often in a row `onNaN` leaves a batch
    out before the job ends."""

    max_preemptions: int = Field(default=1000, ge=0)
    """Restarts after preemptions, evictions and other planned ends."""

    max_infrastructure_failures: int = Field(default=50, ge=0)
    """Restarts after lost nodes, killed processes and other failures of the machines."""

    on_nan: Literal["rollback", "stop", "skip"] = Field(default="stop", alias="onNaN")
    """What a NaN or infinite loss does. `stop`: end the job. `skip`: leave the batch out.
    `rollback`: go back to the last checkpoint and leave the batch out. The losses of both are the same."""

    hang_after: Duration = "10m"
    """A process whose step has not moved for this long is ended."""

    heartbeat_timeout: Duration = "30s"
    """A process that has not been heard of for this long is lost, and its peers leave."""

    grace_seconds: int = Field(default=15, ge=1, le=3600)
    """Seconds between SIGTERM and SIGKILL, in which the step is finished and saved."""

    start_deadline: Duration = "30m"
    """All hosts of an attempt must be running within this time, or the attempt is started again."""
