"""Remove whatever a cluster has put on this machine, however far it came and however it ended."""

import shutil
from pathlib import Path

from cluster import cgroups, network, node
from cluster.commands import output_of
from cluster.places import CGROUP, NAMESPACES, NODES, STATE, NodePlaces, node_places


def remove_everything() -> None:
    """Kill the processes first, then remove network, mounts, groups and files. What is not there is no error."""
    cgroups.kill(CGROUP)
    for places in _nodes_on_disk():
        network.disconnect(places)
    network.remove_bridge()
    if NAMESPACES.is_dir() and not any(NAMESPACES.iterdir()):
        # The first `ip netns add` of a machine mounts this folder onto itself.
        _unmount_below(NAMESPACES)
        NAMESPACES.rmdir()
    cgroups.remove(CGROUP)
    _unmount_below(STATE)
    if STATE.exists():
        shutil.rmtree(STATE)
    for mount_point in map(Path, node.MOUNT_POINTS):
        # Another kubelet on this machine may use it.
        if mount_point.is_dir() and not any(mount_point.iterdir()):
            mount_point.rmdir()


def _nodes_on_disk() -> list[NodePlaces]:
    return [node_places(folder.name) for folder in sorted(NODES.iterdir())] if NODES.exists() else []


def _unmount_below(folder: Path) -> None:
    """Nodes mount in namespaces of their own; whatever shows up here would make rmtree remove foreign files."""
    mounted = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounted if mount.is_relative_to(folder)), reverse=True):
        output_of("umount", mount)
