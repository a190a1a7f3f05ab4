"""Whole manifests, as they go to the API server. `LATEEN_WRITE_GOLDEN=1 pytest …` writes the files, to be read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lateen_operator.manifests.builders import NewBuilders, builders_job_set
from lateen_operator.manifests.capacity_probe import capacity_probe
from lateen_operator.manifests.config_map import config_map
from lateen_operator.manifests.job_set import job_set
from lateen_operator.manifests.network_policy import network_policy
from stored_jobs import A3_HIGH, A3_MEGA, A3_ULTRA, A4, GPU, NANO, SETTINGS, SMALL, TPU, attempt

GOLDEN = Path(__file__).with_name("golden")

OVERRIDE = """compute.podTemplate={
  metadata: {labels: {team: languages}},
  spec: {
    hostNetwork: true,
    dnsPolicy: ClusterFirstWithHostNet,
    securityContext: {fsGroup: 2000},
    initContainers: [{name: side-car, image: side-car:1, restartPolicy: Always}],
    containers:
      [{name: trainer, env: [{name: HOME, value: /shared/home}], securityContext: {capabilities: {add: [IPC_LOCK]}}}],
    volumes: [{name: scratch, ephemeral: {volumeClaimTemplate: {spec: {storageClassName: local}}}}]}}"""


def builders(*settings: str) -> NewBuilders:
    """The builders of the token caches of a small job."""
    made = attempt(SMALL, TPU, *settings)
    return NewBuilders(made.owner, made.resolved, SETTINGS)


MANIFESTS: dict[str, Callable[[], dict[str, Any]]] = {
    "config-map": lambda: config_map(attempt(NANO), "[]"),
    "job-set-cpu": lambda: job_set(attempt(NANO)),
    "job-set-cpu-avoiding": lambda: job_set(attempt(NANO, hosts=1, number=3, avoid=("node-1", "node-2"))),
    "job-set-tpu-spot": lambda: job_set(attempt(SMALL, TPU, number=2)),
    "job-set-tpu-reservation": lambda: job_set(
        attempt(SMALL, TPU, "compute.spot=false", "compute.reservation=pods-2030", "compute.priorityClass=high")
    ),
    "job-set-gpu": lambda: job_set(attempt(SMALL, GPU)),
    "job-set-gpu-tcpx": lambda: job_set(attempt(SMALL, A3_HIGH)),
    "job-set-gpu-tcpxo": lambda: job_set(attempt(SMALL, A3_MEGA)),
    "job-set-gpu-rdma-a3-ultra": lambda: job_set(attempt(SMALL, A3_ULTRA)),
    "job-set-gpu-rdma-a4": lambda: job_set(attempt(SMALL, A4)),
    "job-set-override": lambda: job_set(attempt(NANO, OVERRIDE)),
    "job-set-builders": lambda: builders_job_set(
        builders("data.prepare={hosts: 4, cpu: 8, memory: 16Gi}", "compute.secrets=[hub]", "compute.serviceAccount=me")
    ),
    "job-set-builders-spot": lambda: builders_job_set(builders("data.prepare={spot: true}")),
    "network-policy": lambda: network_policy(attempt(NANO).owner, SETTINGS),
    "capacity-probe-cpu": lambda: capacity_probe(attempt(NANO, hosts=4, avoid=("node-1",)), 1),
    "capacity-probe-tpu": lambda: capacity_probe(attempt(SMALL, TPU), 0),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_is_the_golden_one(name: str):
    path, manifest = GOLDEN / f"{name}.yaml", MANIFESTS[name]()
    if os.environ.get("LATEEN_WRITE_GOLDEN"):
        path.write_text(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=110))
    assert manifest == yaml.safe_load(path.read_text())


def test_there_is_no_golden_file_that_nobody_compares():
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(MANIFESTS)
