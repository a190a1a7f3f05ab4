"""The operator in the real cluster, with the rights that its documentation gives it, and jobs for it."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.fixtures import cluster, namespace, project_images
from cluster.helm import CHART, Helm
from e2e_cluster.training import SLOT, Training

NAMESPACE = "lateen-system"
OUR_IMAGES = (
    "--set=image.repository=localhost/lateen-operator,image.tag=dev,image.pullPolicy=Never",
    "--set=trainer.image.repository=localhost/lateen-trainer,trainer.image.tag=dev",
)
"""The images that were built from this tree, which no registry has."""

__all__ = ["cluster", "namespace", "project_images"]


@pytest.fixture(scope="module")
def operator(cluster: Cluster, project_images: None) -> Iterator[None]:
    """The operator as a pod of the cluster, installed as docs/kubernetes.md says; only the images are our own.

    It works in all namespaces, so it is gone before the next module, which may have an operator of another kind.
    """
    for node in cluster.nodes:
        cluster.set_capacity(node, SLOT, 1)
    create_restricted(cluster, NAMESPACE)
    helm = Helm(cluster.kubeconfig)
    # The cluster has the definition from its start.
    where = ("--namespace", NAMESPACE)
    helm("install", "lateen", CHART, *where, "--set=crds.install=false", *OUR_IMAGES, "--wait", "--timeout=120s")
    yield
    helm("uninstall", "lateen", *where, "--wait", "--timeout=60s")
    cluster.kubectl("delete", "namespace", NAMESPACE, timeout=60)


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[str]:
    """One namespace for all tests of a module that leave nothing behind: a namespace takes seconds to go."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def train(cluster: Cluster, operator: None, namespace: str) -> Callable[..., Training]:
    """Applies a job in the test's own namespace: `train("name", hosts=…)`."""
    folder = cluster.shared_folder(namespace)

    def start(name: str = "small", **fields: Any) -> Training:
        return Training.apply(cluster, namespace, folder, name, **fields)

    return start


def create_restricted(cluster: Cluster, name: str) -> None:
    """A namespace that refuses pods which break Pod Security's level `restricted`."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
