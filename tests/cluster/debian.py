"""What the cluster takes from Debian: the container runtime, its network plugins and the tools around them."""

import shutil
from pathlib import Path

from cluster.commands import output_of
from cluster.failure import ClusterError

NETWORK_PLUGINS = Path("/usr/lib/cni")
RUNNING = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    str(NETWORK_PLUGINS / "ptp"): "containernetworking-plugins",
}
"""The package that holds each program that a node needs."""
BUILDING = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "busybox": "busybox-static"}
"""The same for images."""


def install(packages: dict[str, str]) -> None:
    """Install those of `packages` (program -> package) whose program is missing. ClusterError without apt-get."""
    missing = sorted({package for program, package in packages.items() if not _present(program)})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"install {', '.join(missing)} first: there is no apt-get here to do it")
    print(f"installing {', '.join(missing)}", flush=True)
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    output_of("apt-get", "update", environment=environment)
    output_of("apt-get", "install", "--yes", "--no-install-recommends", *missing, environment=environment)


def _present(program: str) -> bool:
    # /usr/sbin is not on everybody's PATH.
    return Path(program).exists() or any(shutil.which(program, path=path) for path in (None, "/usr/sbin:/sbin"))
