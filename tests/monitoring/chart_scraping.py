"""How Prometheus scrapes a job and an operator through the chart's own objects: each way, for several releases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from charts.helm import Object, one, template
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.manifests.job_set import job_set
from monitoring.kubernetes_targets import RunningPod, Target, service_targets
from monitoring.scrape_configs import annotated, pod_monitor, pod_monitoring, service_monitor
from stored_jobs import NANO, attempt

ScrapeConfig = dict[str, Any]

METRICS_PORT = 8080
"""Of the containers of operator and trainers."""


@dataclass(frozen=True)
class Release:
    """A release of the chart, and the namespaces that it works in; none: all."""

    name: str
    namespace: str
    namespaces: tuple[str, ...] = ()


RELEASES = (
    Release("lateen", "lateen-system"),
    Release("blue", "ml-blue", ("team", "other-team")),
    # No name of a Service, and a number to YAML.
    Release("2024.1", "prod"),
)

WAYS: Mapping[str, Object] = {
    "monitors": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
    "gke": {"gke": {"enabled": True}},
    "annotations": {"annotations": {"enabled": True}},
}
"""By the chart's values below `metrics`. A ServiceMonitor is for the operator, a PodMonitor for the trainers."""

VARIANTS = [(way, release) for way in WAYS for release in RELEASES]


def chart_scrape_configs(
    way: str, release: Release, job: Key, operator: int, trainers: Sequence[int], interval: str
) -> list[ScrapeConfig]:
    """Scrape configurations that the chart's objects lead to.

    They discover the release's operator, one pod per trainer, and a neighbour's operator, at which nothing listens.

    Args:
        way: of `WAYS`.
        job: that is trained.
        operator: local port of its metrics.
        trainers: local ports of the metrics of the job's processes.
        interval: between two scrapes.
    """
    values = {"metrics": dict(WAYS[way]), "namespaces": list(release.namespaces)}
    objects = template(values=values, release=release.name, namespace=release.namespace)
    neighbour = template(release="neighbour", namespace=release.namespace)
    pods = [
        _operator_pod(objects, {METRICS_PORT: operator}),
        _operator_pod(neighbour, {}),
        *_trainer_pods(job, trainers, annotations=way == "annotations"),
    ]
    targets = [target for pod in pods for target in pod.targets()]
    if way == "annotations":
        return [_scrape_config("kubernetes-pods", annotated(), targets, interval)]
    if way == "gke":
        return [
            _scrape_config(_key(of), pod_monitoring(of), targets, interval)
            for of in objects
            if of["kind"] in ("PodMonitoring", "ClusterPodMonitoring")
        ]
    endpoints = [
        target
        for chart, pod in ((objects, pods[0]), (neighbour, pods[1]))
        for target in service_targets(one(chart, "Service"), pod)
    ]
    return [
        _scrape_config("serviceMonitor", service_monitor(one(objects, "ServiceMonitor")), endpoints, interval),
        _scrape_config("podMonitor", pod_monitor(one(objects, "PodMonitor")), targets, interval),
    ]


def _key(thing: Object) -> str:
    """Of all releases: objects of one name may be in several namespaces."""
    metadata = thing["metadata"]
    return "/".join((thing["kind"], metadata.get("namespace", ""), metadata["name"]))


def _scrape_config(name: str, rules: list[Object], targets: list[Target], interval: str) -> ScrapeConfig:
    return {
        "job_name": name,
        "scrape_interval": interval,
        "scrape_timeout": interval,
        "static_configs": targets,
        "relabel_configs": rules,
    }


def _operator_pod(objects: list[Object], ports: Mapping[int, int]) -> RunningPod:
    deployment = one(objects, "Deployment")
    metadata, pod_template = deployment["metadata"], deployment["spec"]["template"]
    owner = f"{metadata['name']}-6d4cf56db6"
    labels = {**pod_template["metadata"]["labels"], "pod-template-hash": "6d4cf56db6"}
    pod = {**pod_template, "metadata": {**pod_template["metadata"], "labels": labels}}
    return RunningPod(metadata["namespace"], f"{owner}-x2x4z", pod, ports, ("ReplicaSet", owner))


def _trainer_pods(job: Key, ports: Sequence[int], *, annotations: bool) -> list[RunningPod]:
    """As JobSet and Job make them of the operator's JobSet."""
    asked = {f"prometheus.io/{name}": value for name, value in (("scrape", "true"), ("port", str(METRICS_PORT)))}
    settings = [f"compute.podTemplate={yaml.safe_dump({'metadata': {'annotations': asked}})}"] if annotations else []
    stored = {**NANO, "metadata": {**NANO["metadata"], "namespace": job.namespace, "name": job.name}}
    made = job_set(attempt(stored, f"compute.hosts={len(ports)}", *settings))
    [workers] = made["spec"]["replicatedJobs"]
    pod_template = workers["template"]["spec"]["template"]
    owner = f"{made['metadata']['name']}-workers-0"
    pods = []
    for index, port in enumerate(ports):
        # Those that their controllers add.
        added = {
            "jobset.sigs.k8s.io/jobset-name": made["metadata"]["name"],
            "jobset.sigs.k8s.io/replicatedjob-name": "workers",
            "jobset.sigs.k8s.io/job-index": "0",
            "batch.kubernetes.io/job-name": owner,
            "batch.kubernetes.io/job-completion-index": str(index),
            "job-name": owner,
        }
        labels = {**pod_template["metadata"]["labels"], **added}
        pod = {**pod_template, "metadata": {**pod_template["metadata"], "labels": labels}}
        namespace, name = made["metadata"]["namespace"], f"{owner}-{index}-x2x4z"
        pods.append(RunningPod(namespace, name, pod, {METRICS_PORT: port}, ("Job", owner)))
    return pods
