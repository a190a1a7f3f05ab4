"""A real API server takes the pods of every GPU network, and Pod Security says which level they need."""

from typing import Any

import pytest
import yaml
from cluster.cluster import Cluster
from cluster.failure import ClusterError
from e2e_cluster.conftest import create_restricted
from lateen_operator.manifests.job_set import job_set
from stored_jobs import A3_HIGH, A3_MEGA, A3_ULTRA, A4, SMALL, attempt

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

PRESETS = {"tcpx": A3_HIGH, "tcpxo": A3_MEGA, "rdma-a3-ultra": A3_ULTRA, "rdma-a4": A4}


def objects(compute: str) -> list[dict[str, Any]]:
    """The JobSet, and the pod of one host: an API server checks pods more closely than templates."""
    manifest = job_set(attempt(SMALL, compute))
    [workers] = manifest["spec"]["replicatedJobs"]
    template = workers["template"]["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "host", **template["metadata"]}}
    # The owner is a job that does not exist.
    manifest["metadata"] = {"name": manifest["metadata"]["name"], "labels": manifest["metadata"]["labels"]}
    return [manifest, pod]


def dry_run(cluster: Cluster, namespace: str, documents: list[dict[str, Any]]) -> str:
    text = yaml.safe_dump_all(documents)
    return cluster.kubectl("apply", "--server-side", "--dry-run=server", "-n", namespace, "-f", "-", input=text)


@pytest.mark.parametrize("compute", PRESETS.values(), ids=PRESETS)
def test_the_api_server_takes_the_jobset_and_its_pod(cluster: Cluster, place: str, compute: str):
    assert dry_run(cluster, place, objects(compute)).count("(server dry run)") == 2


@pytest.mark.parametrize("compute", PRESETS.values(), ids=PRESETS)
def test_a_restricted_namespace_refuses_the_pod(cluster: Cluster, namespace: str, compute: str):
    create_restricted(cluster, namespace)
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        dry_run(cluster, namespace, objects(compute)[1:])
