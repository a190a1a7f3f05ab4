"""The NetworkPolicy of a job: its pods talk to each other, those who read metrics to one port, nobody else to them."""

from typing import Any

from lateen_operator import names
from lateen_operator.manifests.owner import Owner, metadata
from lateen_operator.settings import OperatorSettings

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


def network_policy(owner: Owner, settings: OperatorSettings) -> dict[str, Any]:
    """The manifest. What pods may reach is left open: buckets, hubs and trackers are anywhere.

    Among the pods of a job all ports are open, for jax.distributed, NCCL and megascale choose some as they go.
    """
    pods = {"matchLabels": {names.JOB_LABEL: owner.name}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(owner, names.network_policy_name(owner.name), names.labels(owner.name)),
        "spec": {
            "podSelector": pods,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": pods}]}, _metrics(settings)],
        },
    }


def _metrics(settings: OperatorSettings) -> dict[str, Any]:
    ports = [{"protocol": "TCP", "port": settings.metrics_port}]
    if settings.progress_via == "proxy":
        # The API server asks from an address that no selector names.
        return {"ports": ports}
    operator = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: settings.operator_namespace}},
        "podSelector": {"matchLabels": dict(settings.operator_labels)},
    }
    monitoring = [
        {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}}}
        for namespace in settings.monitoring_namespaces
    ]
    return {"from": [operator, *monitoring], "ports": ports}
