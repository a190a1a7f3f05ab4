"""A long-running program of the cluster, in a cgroup of its own."""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import cgroups
from cluster.failure import ClusterError
from cluster.places import CGROUP, LOGS
from cluster.waiting import wait_until

# Enters the groups before it becomes the program, so that no child of it is ever outside.
_ENTER = (
    'for procs in $LATEEN_CGROUP_PROCS; do echo $$ > "$procs" || exit 125; done; unset LATEEN_CGROUP_PROCS; exec "$@"'
)


@dataclass(frozen=True)
class Service:
    """A program called `name`, in cgroup `group` below the cluster's."""

    name: str
    group: str = ""

    @property
    def cgroup(self) -> str:
        return "/".join(part for part in (CGROUP, self.group, self.name) if part)

    @property
    def log(self) -> Path:
        return LOGS / f"{'-'.join(part for part in (self.group, self.name) if part)}.log"

    @property
    def alive(self) -> bool:
        return bool(cgroups.processes(self.cgroup))

    def start(
        self, *command: str | Path, inside: tuple[str | Path, ...] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `command`, detached from this process, with `environment` added to ours.

        `inside` is a command that enters the namespaces to run it in, as `nsenter`.
        """
        cgroups.create(self.cgroup)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        procs = " ".join(str(folder / "cgroup.procs") for folder in cgroups.folders(self.cgroup))
        with self.log.open("ab") as log:
            subprocess.Popen(
                ["/bin/sh", "-c", _ENTER, "sh", *map(str, inside), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | dict(environment or {}) | {"LATEEN_CGROUP_PROCS": procs},
                start_new_session=True,
            )

    def wait(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Return once `ready()` holds. ClusterError with the end of its log if it dies first, or after `seconds`."""
        born = False

        def settled() -> bool:
            nonlocal born
            alive = self.alive
            born = born or alive
            if ready():
                return True
            if born and not alive:
                raise ClusterError(f"{self.name} ended while it was starting")
            return False

        try:
            wait_until(settled, f"{self.name} to become ready", seconds)
        except ClusterError as error:
            raise ClusterError(f"{error}; the end of {self.log}:\n{self._last_lines()}") from error

    def stop(self) -> None:
        """Kill it and all its children."""
        cgroups.kill(self.cgroup)

    def _last_lines(self, count: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log.exists() else "(empty)"
