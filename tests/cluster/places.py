"""Every folder, port, address and name that the cluster takes on its machine, in one place."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

CACHE = Path.home() / ".cache" / "lateen" / "cluster"
"""What survives `down`: built programs, and images where they were built and where nodes have unpacked them."""
PROGRAMS = CACHE / "programs"
IMAGES = CACHE / "images"
UNPACKED = CACHE / "unpacked"

STATE = Path("/var/lib/lateen-cluster")
"""What `down` removes. Short, for sockets' paths must stay under 108 bytes."""
KUBECONFIG = STATE / "kubeconfig"
LOGS = STATE / "logs"
CONFIGURATION = STATE / "configuration"
CERTIFICATES = STATE / "certificates"
ETCD_DATA = STATE / "etcd"
NODES = STATE / "nodes"
SHARED = STATE / "shared"
"""Folders that the tests' pods mount on every node, as they would a shared file system."""
LOCK = Path("/run/lateen-cluster.lock")
NAMESPACES = Path("/run/netns")

CGROUP = "lateen-cluster"
"""Parent of all cgroups, so of all processes, that belong to the cluster."""
BRIDGE = "lateen0"

NODE_NETWORK = IPv4Network("10.200.0.0/24")
POD_NETWORK = IPv4Network("10.201.0.0/16")
SERVICE_NETWORK = IPv4Network("10.202.0.0/16")
HOST_ADDRESS = NODE_NETWORK[1]
"""The bridge's, on which the control plane and the DNS server listen. Reachable from this machine and its pods only."""
API_SERVICE_ADDRESS = SERVICE_NETWORK[1]

API_PORT = 6443
API_URL = f"https://{HOST_ADDRESS}:{API_PORT}"
ETCD_CLIENT_PORT = 23790
ETCD_PEER_PORT = 23800
ETCD_URL = f"http://127.0.0.1:{ETCD_CLIENT_PORT}"
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
JOBSET_WEBHOOK_PORT = 9443
JOBSET_METRICS_PORT = 9444
JOBSET_HEALTH_PORT = 9445
KUEUE_WEBHOOK_PORT = 9447
KUEUE_HEALTH_PORT = 9448
KUBELET_PORT = 10250
DNS_PORT = 53
DNS_HEALTH_PORT = 9446
CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class NodePlaces:
    """Where the node with this number (from 1) has its address, its disk and its sockets."""

    number: int

    @property
    def name(self) -> str:
        """Also the name of its network namespace's suffix and of its cgroup below `CGROUP`."""
        return f"node-{self.number}"

    @property
    def address(self) -> IPv4Address:
        return NODE_NETWORK[10 + self.number]

    @property
    def pods(self) -> IPv4Network:
        """The addresses of its pods."""
        return list(POD_NETWORK.subnets(new_prefix=24))[self.number]

    @property
    def namespace(self) -> str:
        """Of the network."""
        return f"lateen-{self.name}"

    @property
    def link(self) -> str:
        """The end of its cable that is plugged into the bridge."""
        return f"lateen-n{self.number}"

    @property
    def cgroup(self) -> str:
        return f"{CGROUP}/{self.name}"

    @property
    def disk(self) -> Path:
        """Survives a kill of the node, as a machine's disk survives a power cut."""
        return NODES / self.name

    @property
    def unpacked(self) -> Path:
        """containerd's store. Outlives the cluster, or every start would unpack images for a minute."""
        return UNPACKED / self.name

    @property
    def memory(self) -> Path:
        """What lies under /run on a machine of its own, and is gone after a power cut."""
        return self.disk / "run"

    @property
    def containerd_socket(self) -> Path:
        return self.memory / "containerd.sock"


def node_places(name: str) -> NodePlaces:
    """The places of the node called `name`; ValueError if no node can be called so."""
    prefix, _, number = name.rpartition("-")
    if prefix != "node" or not number.isdecimal() or not 1 <= int(number) <= 200 or number != str(int(number)):
        raise ValueError(f"no node is called {name!r}: nodes are called node-1, node-2, …")
    return NodePlaces(int(number))
