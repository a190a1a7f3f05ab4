"""Small pods for tests of the cluster itself."""

from pathlib import Path
from typing import Any

from cluster.containerd import SANDBOX_IMAGE


def pod_template(script: str, folder: Path | None = None, **spec: Any) -> dict[str, Any]:
    """A pod template that runs `script` in a shell, as lean and as locked down as the project's pods.

    `folder` is mounted at /shared, and /tmp can be written to; `spec` adds to the pod's spec.
    """
    container: dict[str, Any] = {
        "name": "main",
        "image": SANDBOX_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", script],
        "securityContext": {
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if folder is not None:
        container["volumeMounts"].append({"name": "shared", "mountPath": "/shared"})
        volumes.append({"name": "shared", "hostPath": {"path": str(folder), "type": "Directory"}})
    return {"spec": {"restartPolicy": "Never", "containers": [container], "volumes": volumes} | spec}


def pod(name: str, namespace: str, script: str, folder: Path | None = None, **spec: Any) -> dict[str, Any]:
    """A pod of this template."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata} | pod_template(script, folder, **spec)


def jobset(name: str, namespace: str, script: str, folder: Path | None = None, **spec: Any) -> dict[str, Any]:
    """A JobSet `name` of one Job "workers" of two such pods, on two different nodes."""
    selector = {"matchLabels": {"jobset.sigs.k8s.io/jobset-name": name}}
    apart = {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
        ]
    }
    template = pod_template(script, folder, affinity={"podAntiAffinity": apart}, **spec)
    job = {"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimit": 0, "template": template}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicatedJobs": [{"name": "workers", "replicas": 1, "template": {"spec": job}}]},
    }
