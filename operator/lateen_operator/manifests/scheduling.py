"""Where pods may run: selectors, tolerations and resources by the kind of machine, and nodes to stay away from.

Labels and taints are those of GKE (https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus,
https://cloud.google.com/kubernetes-engine/docs/how-to/gpus). A CPU job asks for none of them.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from lateen_api.accelerators import Accelerator, find_accelerator
from lateen_api.errors import JobError
from lateen_api.plan import Plan
from lateen_api.spec import ComputeSpec, JobSpec
from lateen_api.spec.section import duration_seconds
from lateen_api.wording import show

from lateen_operator.manifests.labels import check_labels

GKE = "cloud.google.com/"
NODE_POOL_LABEL = GKE + "gke-nodepool"
TPU = "google.com/tpu"
GPU = "nvidia.com/gpu"
_SPOT_TAINT = {"key": GKE + "gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
HEAVIEST_PREFERENCE = 100
"""The largest weight that Kubernetes takes."""

SHORTEST_ABSENCE = 5
"""Seconds for which a node may be away before its pods are given up, at the least: less is a blink."""


def scheduling(spec: JobSpec, plan: Plan) -> dict[str, Any]:
    """The part of a pod's spec that says which nodes will do."""
    compute, accelerator = spec.compute, _accelerator(plan)
    selector = _selector(compute, accelerator) | compute.node_selector
    away = max(SHORTEST_ABSENCE, round(duration_seconds(spec.recovery.heartbeat_timeout)))
    return {
        **({"nodeSelector": selector} if selector else {}),
        "tolerations": [
            *_absences(away),
            *_taints(compute, accelerator),
            *(copy.deepcopy(toleration) for toleration in compute.tolerations),
        ],
    }


def spot_scheduling() -> dict[str, Any]:
    """The part of a pod's spec that puts it on spot nodes."""
    return {"nodeSelector": {GKE + "gke-spot": "true"}, "tolerations": [dict(_SPOT_TAINT)]}


def resources(spec: JobSpec, plan: Plan) -> dict[str, Any]:
    """What the trainer's container asks for. Requests are limits: a host is the job's, or it is not."""
    compute, accelerator = spec.compute, _accelerator(plan)
    amounts = {"cpu": compute.cpu, "memory": compute.memory}
    if accelerator.kind == "tpu":
        amounts[TPU] = str(plan.devices_per_host // accelerator.devices_per_chip)
    elif accelerator.kind == "gpu":
        amounts[GPU] = str(plan.devices_per_host)
    given = {name: amount for name, amount in amounts.items() if amount is not None}
    return {"requests": given, "limits": dict(given)} if given else {}


def avoids_nodes(plan: Plan) -> bool:
    """Can each pod have another node for itself?

    The hosts of a slice stand or fall together. With one of them avoided, JobSet would still place the first pod of a
    slice on another host of the same node pool, and the rest of the slice would wait there for ever.
    """
    return plan.accelerator_kind != "tpu" or plan.hosts_per_slice == 1


def avoiding(pod_spec: Mapping[str, Any], nodes: Sequence[str], *, strictly: bool = False) -> dict[str, Any]:
    """The pod's spec, with these nodes unwanted in addition to what it says already.

    A pod goes to an unwanted node where no other can take it: a job that waits for ever trains less than one that is
    tried again. Nodes are named by their names, not by the label kubernetes.io/hostname, which may be another or
    missing.

    Args:
        pod_spec: with a nodeAffinity of its own, perhaps.
        nodes: names of the nodes.
        strictly: the pod rather waits than goes there.
    """
    if not nodes:
        return dict(pod_spec)
    result = copy.deepcopy(dict(pod_spec))
    affinity = result.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    # A field selector of a node takes one value.
    unwanted = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]
    if not strictly:
        preferred = affinity.setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
        preferred.append({"weight": HEAVIEST_PREFERENCE, "preference": {"matchFields": unwanted}})
        return result
    # One term is enough for a node to be taken, so each must rule the nodes out.
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [
        {**term, "matchFields": [*term.get("matchFields", ()), *unwanted]} for term in terms
    ]
    return result


def check_scheduling(compute: ComputeSpec) -> list[JobError]:
    """What cannot be had together, and labels that no node can have."""
    errors = list(check_labels(compute.node_selector, "spec.compute.nodeSelector"))
    if compute.spot and compute.reservation is not None:
        errors.append(
            JobError(
                "spec.compute.reservation",
                f"{show(compute.reservation)} is set together with spot: reservations hold no spot capacity. "
                "Remove one of the two.",
            )
        )
    if compute.queue is not None and compute.resize_after is not None:
        errors.append(
            JobError(
                "spec.compute.resizeAfter",
                f"{show(compute.resize_after)} is set together with queue: whether there are free machines is the "
                "queue's to say. Remove one of the two.",
            )
        )
    return errors


def _accelerator(plan: Plan) -> Accelerator:
    accelerator = find_accelerator(plan.accelerator)
    if accelerator is None:
        raise KeyError(f"the plan names the accelerator {plan.accelerator!r}, which is not known")
    return accelerator


def _selector(compute: ComputeSpec, accelerator: Accelerator) -> dict[str, str]:
    selector: dict[str, str] = {}
    if accelerator.kind == "tpu":
        selector[GKE + "gke-tpu-accelerator"] = accelerator.label or ""
        selector[GKE + "gke-tpu-topology"] = compute.topology or ""
    elif accelerator.kind == "gpu":
        selector[GKE + "gke-accelerator"] = accelerator.label or ""
    if compute.spot:
        selector[GKE + "gke-spot"] = "true"
    if compute.reservation is not None:
        selector[GKE + "reservation-name"] = compute.reservation
    return selector


def _absences(seconds: int) -> list[dict[str, Any]]:
    """How long a pod stays on a node that is away: no longer than its peers wait for it, rather than five minutes."""
    return [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": seconds,
        }
        for state in ("not-ready", "unreachable")
    ]


def _taints(compute: ComputeSpec, accelerator: Accelerator) -> list[dict[str, Any]]:
    tolerations = []
    if accelerator.kind == "tpu":
        tolerations.append({"key": TPU, "operator": "Exists", "effect": "NoSchedule"})
    elif accelerator.kind == "gpu":
        tolerations.append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
    if accelerator.name == "nvidia-gb200":
        # Its hosts have Arm cores.
        tolerations.append({"key": "kubernetes.io/arch", "operator": "Equal", "value": "arm64", "effect": "NoSchedule"})
    if compute.spot:
        tolerations.append(dict(_SPOT_TAINT))
    return tolerations
