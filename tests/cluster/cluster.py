"""The cluster as tests use it."""

import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cluster import containerd, control_plane, debian, dns, fake_nodes, jobset, network, node
from cluster.cleanup import remove_everything
from cluster.credentials import make_credentials
from cluster.failure import ClusterError
from cluster.images import available_images, build_busybox
from cluster.kubectl import Kubectl
from cluster.layout import Layout
from cluster.lock import only_one
from cluster.parts import build_all
from cluster.places import CERTIFICATES, KUBECONFIG, NODES, SHARED, NodePlaces, node_places
from cluster.requirements import check_machine
from cluster.users import ADMIN, CONTROLLER_MANAGER, PROXY, SCHEDULER, node_user, write_users
from cluster.waiting import wait_until

CRD = Path(__file__).parents[2] / "crds" / "lmtrainingjobs.yaml"
POD_USER = 1000
"""The user and the group of the project's pods."""


class Cluster:
    """A running cluster. `start` makes one, `running` finds the one that is there."""

    def __init__(self) -> None:
        self.kubeconfig = KUBECONFIG
        self.kubectl = Kubectl(ADMIN.kubeconfig)
        """Calls kubectl as administrator: `cluster.kubectl("get", "pods")`."""

    @classmethod
    def running(cls) -> "Cluster | None":
        """The cluster on this machine, if there is one and it answers."""
        cluster = cls()
        return cluster if KUBECONFIG.exists() and cluster.kubectl.succeeds("get", "--raw", "/readyz") else None

    @classmethod
    def start(cls, nodes: int = 2) -> "Cluster":
        """Start a cluster of node-1 to node-`nodes`, after clearing what an earlier one left behind.

        ClusterError where the machine cannot carry one, or if a cluster is running already.
        """
        check_machine()
        with only_one():
            if cls.running():
                raise ClusterError("a cluster is running already: use it, or remove it first (make cluster-down)")
            debian.install(debian.RUNNING)
            build_all()
            build_busybox()
            remove_everything()
            cluster = cls()
            cluster._start_control_plane([NodePlaces(number) for number in range(1, nodes + 1)])
            for name in cluster.nodes:
                cluster._switch_on(name)
            cluster.wait_for_nodes()
            cluster.kubectl.install_definition(CRD)
            # Last, for it says that the cluster is whole.
            KUBECONFIG.symlink_to(ADMIN.kubeconfig)
            return cluster

    def stop(self) -> None:
        """Remove the cluster and everything that belongs to it, tests' shared folders included."""
        with only_one():
            remove_everything()

    @property
    def nodes(self) -> list[str]:
        """The names of the real nodes, running or killed."""
        return sorted((folder.name for folder in NODES.iterdir()), key=lambda name: node_places(name).number)

    def kill_node(self, name: str) -> None:
        """Cut the node's power: its pods are gone, and nobody says so. Kubernetes notices the silence after 20 s."""
        node.kill(self._places(name))

    def start_node(self, name: str) -> None:
        """Switch a killed node on again, with its disk; returns when it is Ready."""
        self._switch_on(name)
        self.wait_for_nodes([name])

    def start_killed_nodes(self) -> None:
        """Switch on again whatever node is off."""
        for name in self.nodes:
            if not node.alive(self._places(name)):
                self.start_node(name)

    def wait_for_nodes(self, names: Iterable[str] | None = None, *, ready: bool = True, seconds: float = 90) -> None:
        """Return once the nodes `names` (all) are Ready, or, with `ready` false, are not."""
        waiting_for = list(self.nodes if names is None else names)
        what = f"{', '.join(waiting_for)} to be {'Ready' if ready else 'NotReady'}"
        wait_until(lambda: all(self.is_ready(name) == ready for name in waiting_for), what, seconds, every=0.5)

    def is_ready(self, name: str) -> bool:
        """Whether Kubernetes takes the node for Ready; false too if it does not know it."""
        items = self.kubectl.get("nodes", f"--field-selector=metadata.name={name}")["items"]
        conditions = items[0].get("status", {}).get("conditions", []) if items else []
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    def set_capacity(self, name: str, resource: str, amount: int) -> None:
        """Let the node offer `amount` of an extended resource, as "lateen.dev/slot": what fits where."""
        escaped = resource.replace("~", "~0").replace("/", "~1")
        patch = f'[{{"op": "add", "path": "/status/capacity/{escaped}", "value": "{amount}"}}]'
        self.kubectl("patch", "node", name, "--subresource=status", "--type=json", f"--patch={patch}")

    def add_fake_node(self, name: str, labels: Mapping[str, str], capacity: Mapping[str, str]) -> None:
        """Add a node that kwok plays, as with {"google.com/tpu": "4"}; pods for it need `fake_nodes.TOLERATION`."""
        self.kubectl.apply(fake_nodes.node(name, labels, capacity))
        self.wait_for_nodes([name])

    def shared_folder(self, namespace: str) -> Path:
        """A folder that pods of `namespace` can mount by hostPath and write to: the same here and on every node."""
        folder = SHARED / namespace
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        return folder

    def remove_shared_folder(self, namespace: str) -> None:
        if (SHARED / namespace).exists():
            shutil.rmtree(SHARED / namespace)

    def load(self, image: Layout) -> None:
        """Give an image to every running node; nodes that have it already lose no time."""
        for name in self.nodes:
            if node.alive(self._places(name)):
                containerd.load(self._places(name), image)

    def _start_control_plane(self, nodes: list[NodePlaces]) -> None:
        credentials = make_credentials(datetime.now(UTC))
        users = [ADMIN, CONTROLLER_MANAGER, SCHEDULER, PROXY, *(node_user(places.name) for places in nodes)]
        write_users(users, credentials.authority)
        for places in nodes:
            places.disk.mkdir(parents=True)
        SHARED.mkdir()
        network.create_bridge()
        control_plane.start_etcd()
        control_plane.start_api_server(credentials, self.kubectl)
        control_plane.start_controllers(credentials)
        control_plane.start_scheduler()
        dns.start()
        jobset.install(credentials, self.kubectl)
        fake_nodes.start(self.kubectl)

    def _switch_on(self, name: str) -> None:
        places = self._places(name)
        node.start(places, str(CERTIFICATES / "authority.crt"))
        for image in available_images():
            containerd.load(places, image)

    def _places(self, name: str) -> NodePlaces:
        if name not in self.nodes:
            raise ClusterError(f"there is no node called {name!r}; there are {', '.join(self.nodes)}")
        return node_places(name)
