"""The operator in the real cluster, with the rights that its documentation gives it, and jobs for it."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.cluster import Cluster
from cluster.fixtures import cluster, namespace, project_images
from e2e_cluster.training import SLOT, Training

INSTALL = Path(__file__).parents[2] / "docs" / "examples" / "operator.yaml"
NAMESPACE = "lateen-system"

__all__ = ["cluster", "namespace", "project_images"]


@pytest.fixture(scope="module")
def operator(cluster: Cluster, project_images: None) -> Iterator[None]:
    """The operator as a pod of the cluster, installed as docs/operator.md says; only the images are our own.

    It works in all namespaces, so it is gone before the next module, which may have an operator of another kind.
    """
    objects = [of for of in yaml.safe_load_all(INSTALL.read_text()) if of]
    for node in cluster.nodes:
        cluster.set_capacity(node, SLOT, 1)
    cluster.kubectl.apply(*map(_with_our_images, objects))
    cluster.kubectl("rollout", "status", "deployment", "-n", NAMESPACE, "--timeout=120s", timeout=130)
    yield
    for of in reversed(objects):
        name = of["metadata"]["name"]
        where = ["-n", of["metadata"]["namespace"]] if "namespace" in of["metadata"] else []
        cluster.kubectl("delete", of["kind"], name, *where, "--ignore-not-found", timeout=60)


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


def _with_our_images(of: dict[str, Any]) -> dict[str, Any]:
    """The images that were built from this tree, which no registry has."""
    if of["kind"] == "Deployment":
        [container] = of["spec"]["template"]["spec"]["containers"]
        container["image"] = "localhost/lateen-operator:dev"
        container["imagePullPolicy"] = "Never"
        container["args"] = [*container.get("args", []), "--trainer-image=localhost/lateen-trainer:dev"]
    return of
