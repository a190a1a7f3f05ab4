"""A capacity probe: a placeholder pod that asks for what a host of the job would get. Where it finds a node, there is
room for a host."""

from typing import Any

from lateen_operator import names
from lateen_operator.manifests.attempt import NewAttempt
from lateen_operator.manifests.owner import metadata
from lateen_operator.manifests.pod import container_security, pod_template

_SHARED = (
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "schedulerName",
    "runtimeClassName",
    "imagePullSecrets",
    "securityContext",
)
"""Fields of a host's pod that say where it may run, or that its image can be had."""


def capacity_probe(attempt: NewAttempt, index: int) -> dict[str, Any]:
    """The manifest of one capacity probe.

    It has no priority, whatever the job's: that others could be pushed aside is no reason to grow.

    Args:
        attempt: the attempt that runs, at the number of hosts that is looked for.
        index: number of the capacity probe, from 0.
    """
    # A node that the job should avoid is no reason to grow either.
    owner, host = attempt.owner, pod_template(attempt, strictly=True)["spec"]
    trainer = next(container for container in host["containers"] if container["name"] == names.CONTAINER)
    # A volume may be bound to some nodes, whatever pod uses it.
    volumes = [volume for volume in host["volumes"] if "persistentVolumeClaim" in volume]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(
            owner,
            names.probe_name(owner.name, index),
            {**names.labels(owner.name), names.PROBE_LABEL: str(index)},
        ),
        "spec": {
            "restartPolicy": "Never",
            # It has nothing to save, and what it occupies is wanted.
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **{field: host[field] for field in _SHARED if field in host},
            "containers": [
                {
                    "name": "capacity-probe",
                    "image": trainer["image"],
                    "imagePullPolicy": trainer["imagePullPolicy"],
                    "command": ["sleep", "infinity"],
                    **({"resources": trainer["resources"]} if "resources" in trainer else {}),
                    "securityContext": container_security(),
                }
            ],
            **({"volumes": volumes} if volumes else {}),
        },
    }
