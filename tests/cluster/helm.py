"""Helm as one user of the cluster."""

from dataclasses import dataclass
from pathlib import Path

from cluster.commands import output_of
from cluster.parts import program

CHART = Path(__file__).parents[2] / "charts" / "lateen"


@dataclass(frozen=True)
class Helm:
    """Calls Helm with one kubeconfig."""

    kubeconfig: Path

    def __call__(self, *arguments: str | Path, timeout: float = 180) -> str:
        """What `helm arguments` prints. ClusterError with its message if it fails."""
        return output_of(program("helm"), *arguments, f"--kubeconfig={self.kubeconfig}", timeout=timeout)
