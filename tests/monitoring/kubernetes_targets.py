"""What Prometheus' Kubernetes discovery knows of pods and Services, for local processes that stand in for containers.

The labels are those of `kubernetes_sd_configs` in Prometheus' documentation, for the roles `pod` and `endpointslice`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Target = dict[str, Any]
"""An entry of `static_configs`: addresses, and the labels that relabeling starts from."""

CLOSED_PORT = 9
"""A port of this machine on which nothing listens."""


def meta(kind: str, name: str) -> str:
    """The discovery's label for a field of a pod, Service or endpoint."""
    return f"__meta_kubernetes_{kind}_{name}" if kind else f"__meta_kubernetes_{name}"


def sanitized(name: str) -> str:
    """A Kubernetes label's name as part of a Prometheus label's."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


@dataclass(frozen=True)
class RunningPod:
    """A pod that runs.

    Args:
        template: its metadata and spec.
        ports: container port to local port. All others are closed.
        controller: kind and name of its owner.
    """

    namespace: str
    name: str
    template: Object
    ports: Mapping[int, int]
    controller: tuple[str, str]

    def address(self, container_port: int) -> str:
        return f"127.0.0.1:{self.ports.get(container_port, CLOSED_PORT)}"

    def labels(self) -> dict[str, str]:
        """Those that all of its targets have."""
        metadata = self.template["metadata"]
        # A pod's ports are those of its address; here each has a local port in its place.
        annotations = {
            name: str(self.ports.get(int(value), CLOSED_PORT)) if name == "prometheus.io/port" else value
            for name, value in (metadata.get("annotations") or {}).items()
        }
        kind, owner = self.controller
        return {
            meta("", "namespace"): self.namespace,
            meta("pod", "name"): self.name,
            meta("pod", "ip"): "127.0.0.1",
            meta("pod", "phase"): "Running",
            meta("pod", "ready"): "true",
            meta("pod", "node_name"): "node-1",
            meta("pod", "controller_kind"): kind,
            meta("pod", "controller_name"): owner,
            **_texts("pod", "label", metadata.get("labels") or {}),
            **_texts("pod", "annotation", annotations),
        }

    def targets(self) -> Iterator[Target]:
        """Of the role `pod`: one per port of a container."""
        for container in self.template["spec"]["containers"]:
            for port in container.get("ports", ()):
                yield {
                    "targets": [self.address(port["containerPort"])],
                    "labels": {**self.labels(), **_container(container, port)},
                }


def service_targets(service: Object, pod: RunningPod) -> Iterator[Target]:
    """Of the role `endpointslice`: one per port of the Service, which selects the pod."""
    metadata = service["metadata"]
    assert service["spec"]["selector"].items() <= pod.template["metadata"]["labels"].items()
    for port in service["spec"]["ports"]:
        [(container, target)] = [
            (container, one)
            for container in pod.template["spec"]["containers"]
            for one in container["ports"]
            if one["name"] == port["targetPort"]
        ]
        labels = {
            meta("service", "name"): metadata["name"],
            meta("endpointslice", "port_name"): port["name"],
            meta("endpointslice", "address_target_kind"): "Pod",
            meta("endpointslice", "address_target_name"): pod.name,
            **_texts("service", "label", metadata["labels"]),
        }
        yield {
            "targets": [pod.address(target["containerPort"])],
            "labels": {**pod.labels(), **_container(container, target), **labels},
        }


def _container(container: Object, port: Object) -> dict[str, str]:
    return {
        meta("pod", "container_name"): container["name"],
        meta("pod", "container_port_name"): port["name"],
        meta("pod", "container_port_number"): str(port["containerPort"]),
    }


def _texts(kind: str, what: str, values: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations, and that they are there."""
    found = {meta(kind, f"{what}_{sanitized(name)}"): str(value) for name, value in values.items()}
    return found | {meta(kind, f"{what}present_{sanitized(name)}"): "true" for name in values}
