"""A bridge on this machine, and each node on it in a network namespace of its own.

A node routes everything that is not its own through the bridge's address, and this machine routes each node's pods to
the node: so pods, nodes and the control plane reach each other, and nobody else.
"""

from pathlib import Path

from cluster.commands import output_of
from cluster.places import BRIDGE, HOST_ADDRESS, NAMESPACES, NODE_NETWORK, NodePlaces


def create_bridge() -> None:
    """The bridge, with the control plane's address."""
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "add", f"{HOST_ADDRESS}/{NODE_NETWORK.prefixlen}", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    # Only what comes in by the bridge is forwarded: the setting goes away with it, unlike net.ipv4.ip_forward.
    Path(f"/proc/sys/net/ipv4/conf/{BRIDGE}/forwarding").write_text("1")


def connect(node: NodePlaces) -> None:
    """Make the node's namespace, plug it into the bridge and route its pods' addresses to it."""
    _ip("netns", "add", node.namespace)
    _ip("link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", node.namespace)
    _ip("link", "set", node.link, "master", BRIDGE, "up")
    inside = ("-n", node.namespace)
    _ip(*inside, "address", "add", f"{node.address}/{NODE_NETWORK.prefixlen}", "dev", "eth0")
    _ip(*inside, "link", "set", "lo", "up")
    _ip(*inside, "link", "set", "eth0", "up")
    _ip(*inside, "route", "add", "default", "via", str(HOST_ADDRESS))
    output_of("ip", "netns", "exec", node.namespace, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    _ip("route", "replace", str(node.pods), "via", str(node.address), "dev", BRIDGE)


def disconnect(node: NodePlaces) -> None:
    """Undo `connect`, as far as it came. The node's processes must be dead."""
    if _is_link(node.link):
        _ip("link", "delete", node.link)
    if (NAMESPACES / node.namespace).exists():
        _ip("netns", "delete", node.namespace)


def remove_bridge() -> None:
    """Undo `create_bridge`; its routes go with it."""
    if _is_link(BRIDGE):
        _ip("link", "delete", BRIDGE)


def _is_link(name: str) -> bool:
    return Path(f"/sys/class/net/{name}").exists()


def _ip(*arguments: str) -> str:
    return output_of("ip", *arguments)
