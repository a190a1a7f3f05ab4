"""kubectl as one user of the cluster."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.commands import output_of
from cluster.failure import ClusterError
from cluster.parts import program
from cluster.waiting import wait_until


@dataclass(frozen=True)
class Kubectl:
    """Calls kubectl with one kubeconfig."""

    kubeconfig: Path

    def __call__(self, *arguments: str | Path, input: str | None = None, timeout: float = 120) -> str:
        """What `kubectl arguments` prints. ClusterError with its message if it fails."""
        command = (program("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments)
        return output_of(*command, input=input, timeout=timeout)

    def succeeds(self, *arguments: str | Path) -> bool:
        """Whether `kubectl arguments` ends with 0."""
        try:
            self(*arguments, timeout=15)
        except ClusterError:
            return False
        return True

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get arguments` as JSON."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or update `objects`."""
        self("apply", "--server-side", "--force-conflicts", "-f", "-", input=yaml.safe_dump_all(objects))

    def install_definition(self, file: Path) -> None:
        """Apply the CustomResourceDefinition in `file`; returns when the API server serves its kind."""
        definition = yaml.safe_load(file.read_text())
        self("apply", "--server-side", "-f", file)
        self.wait_until_served(definition["metadata"]["name"])

    def wait_until_served(self, name: str) -> None:
        """Return when the API server serves the kind of the CustomResourceDefinition `name`."""
        wait_until(lambda: self._is_established(name), f"{name} to be served", seconds=30)

    def _is_established(self, name: str) -> bool:
        # Not `kubectl wait`, which fails on an object whose conditions are still null.
        conditions = self.get("crd", name).get("status", {}).get("conditions") or []
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
