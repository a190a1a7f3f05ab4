"""The cluster where Docker exists: kind's nodes are containers, and JobSet and kwok run in it as they are shipped."""

from pathlib import Path

from cluster.cluster import CRD, Cluster
from cluster.commands import output_of
from cluster.failure import ClusterError
from cluster.images import OPERATOR, REPOSITORY, TRAINER
from cluster.parts import module_version, program

NAME = "lateen"
"""Of the cluster, as in kind.yaml."""
CONFIGURATION = Path(__file__).with_name("kind.yaml")
HOME = Path("/var/tmp/lateen-cluster")
"""What kind.yaml mounts on the nodes lies below, and belongs to the user that started the cluster."""
_RELEASES = "https://github.com/kubernetes-sigs"
_CONTROL_PLANE = "control-plane"


class InKind(Cluster):
    """Its nodes are called lateen-worker and lateen-worker2."""

    def __init__(self) -> None:
        super().__init__(HOME / "kubeconfig", HOME / "shared")

    @classmethod
    def start(cls) -> "InKind":
        """Start the cluster that kind.yaml describes. ClusterError without Docker, or if it is running already."""
        cluster = cls()
        if cluster.answers:
            raise ClusterError("kind's cluster is running already: use it, or remove it first (make cluster-down)")
        output_of("docker", "version")
        # Docker would make it, as root's.
        cluster.shared.mkdir(parents=True, exist_ok=True)
        _kind("create", "cluster", f"--config={CONFIGURATION}", f"--kubeconfig={cluster.kubeconfig}", "--wait=120s")
        jobset, kwok = (module_version(f"sigs.k8s.io/{name}") for name in ("jobset", "kwok"))
        manifests = (
            f"{_RELEASES}/jobset/releases/download/{jobset}/manifests.yaml",
            f"{_RELEASES}/kwok/releases/download/{kwok}/kwok.yaml",
            f"{_RELEASES}/kwok/releases/download/{kwok}/stage-fast.yaml",
        )
        for address in manifests:
            cluster.kubectl("apply", "--server-side", "-f", address)
        for deployment, namespace in (
            ("jobset-controller-manager", "jobset-system"),
            ("kwok-controller", "kube-system"),
        ):
            rollout = ("rollout", "status", f"deployment/{deployment}", "-n", namespace, "--timeout=180s")
            cluster.kubectl(*rollout, timeout=190)
        cluster.kubectl.install_definition(CRD)
        return cluster

    def stop(self) -> None:
        _kind("delete", "cluster", f"--name={NAME}", f"--kubeconfig={self.kubeconfig}")
        self.kubeconfig.unlink(missing_ok=True)
        for folder in self.shared.iterdir() if self.shared.exists() else ():
            self.remove_shared_folder(folder.name)

    @property
    def nodes(self) -> list[str]:
        names = _kind("get", "nodes", f"--name={NAME}").split()
        return sorted(name for name in names if not name.endswith(_CONTROL_PLANE))

    def kill_node(self, name: str) -> None:
        self.check_known(name)
        output_of("docker", "kill", name)

    def switch_on(self, name: str) -> None:
        self.check_known(name)
        output_of("docker", "start", name)

    def is_on(self, name: str) -> bool:
        return output_of("docker", "inspect", "--format={{.State.Running}}", name).strip() == "true"

    def give_images(self, base: str | None = None) -> None:
        for image in (OPERATOR.name, TRAINER.name):
            dockerfile = REPOSITORY / "images" / f"{image.partition('lateen-')[2].partition(':')[0]}.Dockerfile"
            arguments = () if base is None else (f"--build-arg=BASE={base}",)
            build = ("docker", "build", *arguments, f"--tag={image}", f"--file={dockerfile}", REPOSITORY)
            output_of(*build, environment={"DOCKER_BUILDKIT": "1"}, timeout=1800)
            _kind("load", "docker-image", image, f"--name={NAME}")


def _kind(*arguments: str) -> str:
    return output_of(program("kind"), *arguments)
