"""Fixtures for tests of the operator as a process beside the cluster, on nodes whose pods do what a test says."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.kubelet import Kubelet
from e2e_cluster.harness.operator_process import OperatorProcess
from e2e_cluster.harness.proxy import Proxy
from lateen_operator.cluster.resources import Resource

NAMESPACES = Resource("", "v1", "namespaces")
KUBECONFIG = "LATEEN_TEST_KUBECONFIG"
"""Variable that names another cluster than that of tests/cluster."""

Start = Callable[..., OperatorProcess]


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest) -> Api:
    """The API server."""
    named = os.environ.get(KUBECONFIG)
    return Api(Path(named) if named else request.getfixturevalue("cluster").kubeconfig)


@pytest.fixture(scope="module")
def kubelet(api: Api) -> Iterator[Kubelet]:
    """A node for all pods of a test."""
    kubelet = Kubelet(api, f"test-{secrets.token_hex(3)}")
    yield kubelet
    kubelet.stop()


@pytest.fixture
def own_namespace(api: Api) -> Iterator[Callable[[], str]]:
    """Makes namespaces, and removes them after the test."""
    made: list[str] = []

    def make() -> str:
        name = f"test-{secrets.token_hex(4)}"
        made.append(name)
        api.create(NAMESPACES, {"metadata": {"name": name}})
        return name

    yield make
    for name in made:
        api.delete(NAMESPACES, None, name)


@contextmanager
def behind_proxy(api: Api, folder: Path) -> Iterator[tuple[Proxy, Start]]:
    """A proxy before the API server, and what starts operators behind it: `start(namespace)`. Both end with this."""
    proxy, started = Proxy(api), []
    kubeconfig = proxy.kubeconfig(folder / "kubeconfig")

    def start(namespace: str, *options: str) -> OperatorProcess:
        started.append(OperatorProcess(kubeconfig, namespace, folder / "operator.log", *options))
        return started[-1]

    try:
        yield proxy, start
    finally:
        for process in started:
            process.close()
        proxy.stop()


@pytest.fixture
def behind(api: Api, tmp_path: Path) -> Iterator[tuple[Proxy, Start]]:
    with behind_proxy(api, tmp_path) as both:
        yield both


@pytest.fixture
def proxy(behind: tuple[Proxy, Start]) -> Proxy:
    """A proxy before the API server."""
    return behind[0]


@pytest.fixture
def start_operator(behind: tuple[Proxy, Start]) -> Start:
    """Starts operators behind the proxy, and ends them after the test."""
    return behind[1]
