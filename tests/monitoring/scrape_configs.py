"""Prometheus' scrape configuration for each object by which the chart has its metrics scraped.

What a controller makes of its objects is written down here as relabeling rules, in the order in which they are applied:

- ServiceMonitor and PodMonitor: Prometheus operator, pkg/prometheus/promcfg.go (0022663), for the role `endpointslice`
- PodMonitoring and ClusterPodMonitoring: GoogleCloudPlatform/prometheus-engine,
  pkg/operator/apis/monitoring/v1/pod_config.go (01e7efc)
- annotations: the job `kubernetes-pods` of prometheus-community's chart `prometheus`, values.yaml

Only fields that the chart sets are known; any other is an error, so that none is left out in silence.
"""

from collections.abc import Sequence
from typing import Any

from monitoring.kubernetes_targets import Object, meta, sanitized

Rule = dict[str, Any]


def service_monitor(monitor: Object) -> list[Rule]:
    """Relabeling rules of a ServiceMonitor with one endpoint."""
    spec, [endpoint] = _known(monitor, "selector", "namespaceSelector", "endpoints"), monitor["spec"]["endpoints"]
    return [
        *_selected("service", spec["selector"]),
        _keep(meta("endpointslice", "port_name"), endpoint["port"]),
        *_in_namespaces(spec["namespaceSelector"]),
        _copy(meta("", "namespace"), "namespace"),
        _copy(meta("service", "name"), "service"),
        _copy(meta("pod", "name"), "pod"),
        _copy(meta("pod", "container_name"), "container"),
        _drop_ended(),
        _copy(meta("service", "name"), "job"),
        _set("endpoint", endpoint["port"]),
        *_own(endpoint),
    ]


def pod_monitor(monitor: Object) -> list[Rule]:
    """Relabeling rules of a PodMonitor with one endpoint."""
    spec = _known(monitor, "selector", "namespaceSelector", "podMetricsEndpoints")
    [endpoint] = spec["podMetricsEndpoints"]
    return [
        _drop_ended(),
        *_selected("pod", spec["selector"]),
        _keep(meta("pod", "container_port_name"), endpoint["port"]),
        *_in_namespaces(spec["namespaceSelector"]),
        _copy(meta("", "namespace"), "namespace"),
        _copy(meta("pod", "container_name"), "container"),
        _copy(meta("pod", "name"), "pod"),
        _set("job", f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"),
        _set("endpoint", endpoint["port"]),
        *_own(endpoint),
    ]


def pod_monitoring(monitoring: Object) -> list[Rule]:
    """Relabeling rules of a PodMonitoring, or a ClusterPodMonitoring, with one endpoint.

    Of the labels that are copied from a pod by default, all that a version of the collection has.
    """
    spec, metadata = _known(monitoring, "selector", "endpoints"), monitoring["metadata"]
    [endpoint] = spec["endpoints"]
    assert endpoint.keys() <= {"port", "path", "interval"}, endpoint
    in_namespace = [_keep(meta("", "namespace"), metadata["namespace"])] if "namespace" in metadata else []
    return [
        _set("project_id", "project"),
        _set("location", "europe-west4"),
        _set("cluster", "research"),
        *in_namespace,
        *_selected("pod", spec["selector"]),
        _copy(meta("pod", "name"), "pod"),
        _copy(meta("pod", "container_name"), "container"),
        _copy(meta("pod", "controller_name"), "top_level_controller_name"),
        _copy(meta("pod", "controller_kind"), "top_level_controller_type"),
        _copy(meta("", "namespace"), "namespace"),
        _set("job", metadata["name"]),
        _drop_ended(),
        _keep(meta("pod", "container_port_name"), endpoint["port"]),
        {
            "source_labels": [meta("pod", "name"), meta("pod", "container_port_name")],
            "separator": ":",
            "target_label": "instance",
        },
    ]


def annotated() -> list[Rule]:
    """Relabeling rules for pods with `prometheus.io/…` annotations."""
    port, path = (meta("pod", f"annotation_prometheus_io_{name}") for name in ("port", "path"))
    return [
        _keep(meta("pod", "annotation_prometheus_io_scrape"), "true"),
        {"source_labels": [path], "regex": "(.+)", "target_label": "__metrics_path__"},
        {
            "source_labels": [meta("pod", "ip"), port],
            "regex": r"(.+);(\d+)",
            "replacement": "$1:$2",
            "target_label": "__address__",
        },
        {"action": "labelmap", "regex": meta("pod", "label_(.+)")},
        _copy(meta("", "namespace"), "namespace"),
        _copy(meta("pod", "name"), "pod"),
        {"action": "drop", "source_labels": [meta("pod", "phase")], "regex": "Pending|Succeeded|Failed|Completed"},
        _copy(meta("pod", "node_name"), "node"),
    ]


def _known(thing: Object, *fields: str) -> Object:
    assert thing["spec"].keys() == set(fields), f"{thing['kind']}: {sorted(thing['spec'])}"
    return thing["spec"]


def _own(endpoint: Object) -> list[Rule]:
    """The endpoint's own relabelings, which come last."""
    assert endpoint.keys() <= {"port", "path", "interval", "relabelings"}, endpoint
    names = {"targetLabel": "target_label", "replacement": "replacement"}
    return [{names[field]: value for field, value in rule.items()} for rule in endpoint.get("relabelings", ())]


def _selected(kind: str, selector: Object) -> list[Rule]:
    """Of a label selector."""
    rules = [
        {
            "action": "keep",
            "source_labels": [meta(kind, f"{what}_{sanitized(name)}") for what in ("label", "labelpresent")],
            "regex": f"({value});true",
        }
        for name, value in sorted(selector.get("matchLabels", {}).items())
    ]
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "Exists", expression
        rules.append(_keep(meta(kind, f"labelpresent_{sanitized(expression['key'])}"), "true"))
    return rules


def _in_namespaces(selector: Object) -> list[Rule]:
    """The discovery asks for these namespaces only."""
    names: Sequence[str] = selector.get("matchNames", ())
    return [_keep(meta("", "namespace"), "|".join(names))] if names else []


def _keep(label: str, regex: str) -> Rule:
    return {"action": "keep", "source_labels": [label], "regex": regex}


def _drop_ended() -> Rule:
    return {"action": "drop", "source_labels": [meta("pod", "phase")], "regex": "(Failed|Succeeded)"}


def _copy(label: str, to: str) -> Rule:
    return {"source_labels": [label], "target_label": to}


def _set(label: str, value: str) -> Rule:
    return {"target_label": label, "replacement": value}
