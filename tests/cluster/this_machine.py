"""The cluster of processes on this machine: real components and real nodes in namespaces, no container engine."""

from datetime import UTC, datetime

from cluster import containerd, control_plane, debian, dns, fake_nodes, jobset, network, node
from cluster.cleanup import remove_everything
from cluster.cluster import CRD, Cluster
from cluster.credentials import make_credentials
from cluster.failure import ClusterError
from cluster.images import available_images, build_busybox, build_operator, build_trainer
from cluster.kubectl import Kubectl
from cluster.lock import only_one
from cluster.parts import build_all
from cluster.places import CERTIFICATES, KUBECONFIG, NODES, SHARED, NodePlaces, node_places
from cluster.requirements import check_machine
from cluster.users import ADMIN, CONTROLLER_MANAGER, PROXY, SCHEDULER, node_user, write_users


class OnThisMachine(Cluster):
    """Its nodes are called node-1, node-2, …"""

    def __init__(self) -> None:
        super().__init__(KUBECONFIG, SHARED)
        # KUBECONFIG is there once the cluster is whole; this one serves to make it so.
        self.kubectl = Kubectl(ADMIN.kubeconfig)

    @classmethod
    def start(cls, nodes: int = 2) -> "OnThisMachine":
        """Start a cluster of so many nodes, after clearing what an earlier one left behind.

        ClusterError where the machine cannot carry one, or if a cluster is running already.
        """
        check_machine()
        with only_one():
            cluster = cls()
            if cluster.answers:
                raise ClusterError("a cluster is running already: use it, or remove it first (make cluster-down)")
            debian.install(debian.RUNNING)
            build_all()
            build_busybox()
            remove_everything()
            cluster._start_control_plane([NodePlaces(number) for number in range(1, nodes + 1)])
            for name in cluster.nodes:
                cluster.switch_on(name)
            cluster.wait_for_nodes()
            cluster.kubectl.install_definition(CRD)
            KUBECONFIG.symlink_to(ADMIN.kubeconfig)
            return cluster

    def stop(self) -> None:
        with only_one():
            remove_everything()

    @property
    def nodes(self) -> list[str]:
        folders = NODES.iterdir() if NODES.exists() else ()
        return sorted((folder.name for folder in folders), key=lambda name: node_places(name).number)

    def kill_node(self, name: str) -> None:
        self.check_known(name)
        node.kill(node_places(name))

    def switch_on(self, name: str) -> None:
        self.check_known(name)
        places = node_places(name)
        node.start(places, str(CERTIFICATES / "authority.crt"))
        for image in available_images():
            containerd.load(places, image)

    def is_on(self, name: str) -> bool:
        return node.alive(node_places(name))

    def give_images(self, base: str | None = None) -> None:
        for layout in (build_operator(base), build_trainer(base)):
            print(f"{layout.name}: {layout.image().compressed_size / 1e6:.0f} MB compressed, in {layout.folder}")
            for name in filter(self.is_on, self.nodes):
                containerd.load(node_places(name), layout)

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
