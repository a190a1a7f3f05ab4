"""The cluster as tests use it, wherever its nodes are."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from cluster import fake_nodes
from cluster.failure import ClusterError
from cluster.kubectl import Kubectl
from cluster.waiting import wait_until

CRD = Path(__file__).parents[2] / "crds" / "lmtrainingjobs.yaml"


class Cluster(ABC):
    """A running cluster: `OnThisMachine` or `InKind`.

    Args:
        kubeconfig: an administrator's.
        shared: folder that is the same here and on every node.
    """

    def __init__(self, kubeconfig: Path, shared: Path) -> None:
        self.kubeconfig = kubeconfig
        self.shared = shared
        self.kubectl = Kubectl(kubeconfig)
        """Calls kubectl as administrator: `cluster.kubectl("get", "pods")`."""

    @property
    @abstractmethod
    def nodes(self) -> list[str]:
        """The names of the nodes that pods can run on, running or killed."""

    @abstractmethod
    def kill_node(self, name: str) -> None:
        """Cut the node's power: its pods are gone, and nobody says so. Kubernetes notices the silence after 20 s."""

    @abstractmethod
    def switch_on(self, name: str) -> None:
        """Switch a killed node on again, with its disk."""

    @abstractmethod
    def is_on(self, name: str) -> bool:
        """Whether the node has power."""

    @abstractmethod
    def give_images(self, base: str | None = None) -> None:
        """Build the operator's and the trainer's image of the code as it is, and give them to every running node.

        Args:
            base: a Python image to build on, instead of the usual one.
        """

    @abstractmethod
    def stop(self) -> None:
        """Remove the cluster and everything that belongs to it, tests' shared folders included."""

    @property
    def answers(self) -> bool:
        """Whether there is an API server to talk to."""
        return self.kubeconfig.exists() and self.kubectl.succeeds("get", "--raw", "/readyz")

    def start_node(self, name: str) -> None:
        """Switch a killed node on again; returns when it is Ready."""
        self.switch_on(name)
        self.wait_for_nodes([name])

    def start_killed_nodes(self) -> None:
        """Switch on again whatever node is off."""
        for name in self.nodes:
            if not self.is_on(name):
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
        folder = self.shared / namespace
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        return folder

    def remove_shared_folder(self, namespace: str) -> None:
        """Remove what `shared_folder` made."""
        if (self.shared / namespace).exists():
            shutil.rmtree(self.shared / namespace)

    def check_known(self, name: str) -> None:
        """ClusterError if there is no such node."""
        if name not in self.nodes:
            raise ClusterError(f"there is no node called {name!r}; there are {', '.join(self.nodes)}")
