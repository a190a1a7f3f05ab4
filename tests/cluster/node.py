"""A node: a network and a mount namespace on this machine, with containerd, kubelet and kube-proxy in them.

It dies as a machine does that loses its power: at once, with its disk kept.
"""

import shutil

import yaml

from cluster import cgroups, containerd, network
from cluster.commands import output_of
from cluster.failure import ClusterError
from cluster.parts import program
from cluster.places import (
    CLUSTER_DOMAIN,
    HOST_ADDRESS,
    KUBELET_PORT,
    NAMESPACES,
    POD_NETWORK,
    NodePlaces,
)
from cluster.service import Service
from cluster.users import PROXY, node_user

# Programs with fixed paths under these find the node's own folders there. First the view is cut off from this machine's
# (private), and other nodes' networks are let go; then mounts may spread again (shared), as kubelet's volumes need.
_MACHINE = """\
set -e
mount --make-rprivate /
for namespace in /run/netns/*; do [ ! -e "$namespace" ] || umount "$namespace"; done
mount --bind "$1/run" /run
mount --bind "$1/kubelet" /var/lib/kubelet
mount --bind "$1/log" /var/log
mount --make-rshared /
mkdir /run/netns
touch /run/ready
exec sleep infinity
"""
MOUNT_POINTS = ("/var/lib/kubelet",)
"""Folders that must exist on this machine to be covered in a node, though nothing is ever written to them."""


def start(node: NodePlaces, authority: str) -> None:
    """Switch the node on, with the disk that it was left with; returns when its containerd takes images.

    `authority` is the file of the certificate authority. ClusterError if the node is on already.
    """
    if alive(node):
        raise ClusterError(f"{node.name} is running already")
    _clear_after_death(node)
    known = (node.disk / "kubelet").exists()
    for folder in ("run", "kubelet", "log"):
        (node.disk / folder).mkdir(parents=True, exist_ok=True)
    network.connect(node)
    inside = _start_machine(node)
    _start_containerd(node, inside, new=not known)
    _start_kubelet(node, inside, authority)
    _start_proxy(node, inside)


def kill(node: NodePlaces) -> None:
    """Switch the node off: SIGKILL to all that runs in it, no farewell to anybody."""
    cgroups.kill(node.cgroup)
    _clear_after_death(node)


def alive(node: NodePlaces) -> bool:
    return bool(cgroups.processes(node.cgroup))


def _clear_after_death(node: NodePlaces) -> None:
    """Remove what a machine loses with its power. Its mounts went with the last process in its mount namespace."""
    network.disconnect(node)
    cgroups.remove(node.cgroup)
    if node.memory.exists():
        shutil.rmtree(node.memory)


def _start_machine(node: NodePlaces) -> tuple[str, ...]:
    """Make the namespaces; the command that enters them."""
    for folder in MOUNT_POINTS:
        output_of("mkdir", "--parents", folder)
    machine = Service("machine", node.name)
    enter_network = ("nsenter", f"--net={NAMESPACES / node.namespace}")
    # Not `ip netns exec`, which would hide the cgroups.
    machine.start("sh", "-c", _MACHINE, "machine", node.disk, inside=(*enter_network, "unshare", "--mount"))
    machine.wait(lambda: (node.memory / "ready").exists(), seconds=20)
    (pid,) = cgroups.processes(machine.cgroup)
    return ("nsenter", f"--target={pid}", "--mount", "--net")


def _start_containerd(node: NodePlaces, inside: tuple[str, ...], *, new: bool) -> None:
    service = Service("containerd", node.name)
    command = ("containerd", "--config", containerd.configure(node))
    service.start(*command, inside=inside)
    service.wait(lambda: containerd.answers(node))
    if new and containerd.forget_containers(node):
        service.stop()
        service.start(*command, inside=inside)
        service.wait(lambda: containerd.answers(node))


def _start_kubelet(node: NodePlaces, inside: tuple[str, ...], authority: str) -> None:
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": authority},
        },
        "authorization": {"mode": "Webhook"},
        "address": str(node.address),
        "port": KUBELET_PORT,
        "readOnlyPort": 0,
        "containerRuntimeEndpoint": "unix:///run/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "enforceNodeAllocatable": ["pods"],
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [str(HOST_ADDRESS)],
        "clusterDomain": CLUSTER_DOMAIN,
        # Pods inherit no search domains from this machine.
        "resolvConf": "",
        "nodeStatusUpdateFrequency": "4s",
        "nodeStatusReportFrequency": "4s",
        "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "10s",
        # All nodes share this machine's disk and memory: its fullness is no pod's fault.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "registerNode": True,
        "logging": {"verbosity": 1},
    }
    file = node.disk / "kubelet.yaml"
    file.write_text(yaml.safe_dump(configuration))
    Service("kubelet", node.name).start(
        program("kubelet"),
        f"--config={file}",
        f"--kubeconfig={node_user(node.name).kubeconfig}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        inside=inside,
    )


def _start_proxy(node: NodePlaces, inside: tuple[str, ...]) -> None:
    """kube-proxy gives pods the addresses of Services, the API server's above all."""
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(PROXY.kubeconfig)},
        "hostnameOverride": node.name,
        "clusterCIDR": str(POD_NETWORK),
        # These limits belong to the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": "127.0.0.1:10256",
    }
    file = node.disk / "kube-proxy.yaml"
    file.write_text(yaml.safe_dump(configuration))
    Service("kube-proxy", node.name).start(program("kube-proxy"), f"--config={file}", inside=inside)
