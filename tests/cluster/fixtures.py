"""Fixtures for tests that need a real cluster. A conftest.py takes those it wants by importing them."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cluster.cluster import Cluster
from cluster.find import running_cluster
from cluster.requirements import unsuitable
from cluster.this_machine import OnThisMachine


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that is running on this machine, else one that is started now and removed after the last test."""
    running = running_cluster()
    if running is not None:
        running.start_killed_nodes()
        yield running
        return
    if reason := unsuitable():
        pytest.skip(reason)
    started = OnThisMachine.start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def project_images(cluster: Cluster) -> None:
    """The operator's and the trainer's image, of the code as it is now, on every node."""
    cluster.give_images()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of a random name for one test. After the test all nodes are on, and everything in it is gone."""
    with own_namespace(cluster) as name:
        yield name


@contextmanager
def own_namespace(cluster: Cluster) -> Iterator[str]:
    """The same for a test that needs one for longer than a test."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        cluster.start_killed_nodes()
        for node in cluster.nodes:
            cluster.kubectl("uncordon", node)
        # First the namespace, so that nobody makes new pods in it; alone it would wait for the pods' whole grace time.
        cluster.kubectl("delete", "namespace", name, "--wait=false")
        cluster.kubectl("delete", "pods", "--all", "-n", name, "--grace-period=1", "--timeout=60s")
        cluster.remove_shared_folder(name)
