"""An attempt that is about to be created: all that its manifests are made of."""

from dataclasses import dataclass

from lateen_operator import names
from lateen_operator.manifests.owner import Owner
from lateen_operator.resolve import Resolved
from lateen_operator.settings import OperatorSettings


@dataclass(frozen=True)
class NewAttempt:
    """One attempt of a job, before it exists."""

    owner: Owner
    number: int
    resolved: Resolved
    """The job at the attempt's number of hosts (`Resolved.at_hosts`)."""

    settings: OperatorSettings
    avoid: tuple[str, ...] = ()
    """Nodes that it should not run on while others can take its pods."""

    checkpoint_step: int | None = None
    """Step of the last checkpoint that the attempts before it are known to have committed."""

    @property
    def name(self) -> str:
        """Name of its JobSet, its ConfigMap and its service."""
        return names.attempt_name(self.owner.name, self.number)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its objects."""
        return names.labels(self.owner.name, self.number)

    @property
    def annotations(self) -> dict[str, str]:
        """What the operator reads back when it has forgotten everything."""
        return {
            names.SPEC_DIGEST: self.resolved.digest,
            names.HOSTS: str(self.resolved.plan.hosts),
            names.WANTED_HOSTS: str(self.resolved.target.hosts),
        }
