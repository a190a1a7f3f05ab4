"""Nodes that exist in the API alone, as many and of whatever accelerator: kwok says that their pods run and complete.

Which outcome a pod meets there is told by kwok's Stage objects; those that play success are installed, a test may apply
others.
"""

from collections.abc import Mapping
from typing import Any

from cluster.kubectl import Kubectl
from cluster.parts import module_folder, program
from cluster.service import Service
from cluster.users import ADMIN

KWOK = Service("kwok")
MODULE = "sigs.k8s.io/kwok"
ANNOTATION = ("kwok.x-k8s.io/node", "fake")
TAINT = {"key": ANNOTATION[0], "value": ANNOTATION[1], "effect": "NoSchedule"}
"""Keeps pods off that are meant to run; pods for fake nodes tolerate it."""
TOLERATION = {"key": ANNOTATION[0], "operator": "Exists", "effect": "NoSchedule"}
_STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")


def start(kubectl: Kubectl) -> None:
    """Install the kind Stage and the stages of an untroubled life, and start kwok."""
    manifests = module_folder(MODULE) / "kustomize"
    kubectl.install_definition(manifests / "crd" / "bases" / "kwok.x-k8s.io_stages.yaml")
    for stage in _STAGES:
        kubectl("apply", "--server-side", "-k", manifests / "stage" / stage)
    KWOK.start(
        program("kwok"),
        f"--kubeconfig={ADMIN.kubeconfig}",
        "--enable-crds=Stage",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={'='.join(ANNOTATION)}",
        "--node-lease-duration-seconds=40",
        "--server-address=",
    )


def node(name: str, labels: Mapping[str, str], capacity: Mapping[str, str]) -> dict[str, Any]:
    """The Node object of a fake node with these labels and resources, as {"google.com/tpu": "4"}."""
    resources = {"cpu": "64", "memory": "256Gi", "pods": "110"} | dict(capacity)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {ANNOTATION[0]: ANNOTATION[1]},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"} | dict(labels),
        },
        "spec": {"taints": [TAINT]},
        "status": {"capacity": resources, "allocatable": resources},
    }
