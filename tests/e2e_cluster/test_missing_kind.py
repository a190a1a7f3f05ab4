"""JobSet's CustomResourceDefinition is taken away, and with it all JobSets: jobs say so, and go on when it is back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.cluster import Cluster
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.fixtures import Start, api, behind, kubelet, own_namespace, start_operator
from e2e_cluster.harness.kubelet import Kubelet
from e2e_cluster.harness.world import job, settled
from e2e_cluster.test_refusals import blocked, until
from lateen_operator.cluster.resources import JOBS

__all__ = ["api", "behind", "kubelet", "own_namespace", "start_operator"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

DEFINITION = "jobsets.jobset.x-k8s.io"
TOLD_WITHIN_SECONDS = 60.0
GOES_ON_WITHIN_SECONDS = 120.0
"""The controllers of JobSet and of Jobs have back-offs of their own."""


def put_back(cluster: Cluster, definition: dict[str, Any]) -> None:
    """Returns when the API server serves JobSets."""
    cluster.kubectl.apply(definition)

    def conditions() -> list[dict[str, Any]]:
        return cluster.kubectl.get("crd", DEFINITION).get("status", {}).get("conditions") or []

    def is_established() -> bool:
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions())

    until(is_established, 60.0, conditions)


@pytest.fixture
def definition(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """JobSet's definition, which is there again after the test, whatever becomes of it."""
    found = cluster.kubectl.get("crd", DEFINITION)
    kept = {name: found["metadata"].get(name) for name in ("name", "annotations", "labels")}
    definition = {**found, "metadata": {name: value for name, value in kept.items() if value}}
    definition.pop("status", None)
    yield definition
    put_back(cluster, definition)


def test_a_running_job_and_a_new_one_go_on_when_jobset_is_back(
    cluster: Cluster,
    definition: dict[str, Any],
    start_operator: Start,
    api: Api,
    kubelet: Kubelet,
    own_namespace: Any,
    tmp_path: Path,
) -> None:
    """Slow: real controllers, and their back-offs."""
    namespace = own_namespace()
    operator = start_operator(namespace)
    api.create(JOBS, job(namespace))
    settled(api, namespace, lambda seen: [phase for _, phase in seen["pods"]] == ["Running"] * 2, within=60.0)

    cluster.kubectl("delete", "crd", DEFINITION, "--timeout=60s")
    api.create(JOBS, job(namespace, "late"))
    until(lambda: "jobsets" in blocked(api, namespace)[2], TOLD_WITHIN_SECONDS, lambda: blocked(api, namespace))
    assert operator.process.poll() is None

    put_back(cluster, definition)

    def attempts(name: str) -> list[str | None]:
        entries = (api.get(JOBS, namespace, name).get("status") or {}).get("attempts", ())
        return [entry.get("failureClass") for entry in entries]

    def run_again() -> bool:
        states = [(api.get(JOBS, namespace, name).get("status") or {}).get("hosts") for name in ("job", "late")]
        return states == [2, 2]

    until(run_again, GOES_ON_WITHIN_SECONDS, lambda: [attempts("job"), attempts("late")])
    assert (attempts("job")[0], attempts("late")) == ("Planned", [None])
    assert operator.process.poll() is None
    assert "Traceback" not in (tmp_path / "operator.log").read_text()
