"""The JobSet of an attempt: one Job a slice, one pod a host. It is created once and never restarts anything.

https://github.com/kubernetes-sigs/jobset/blob/v0.12.0/api/jobset/v1alpha2/jobset_types.go
"""

from typing import Any

from lateen_operator import names
from lateen_operator.manifests.attempt import NewAttempt
from lateen_operator.manifests.owner import metadata
from lateen_operator.manifests.pod import pod_template
from lateen_operator.manifests.scheduling import NODE_POOL_LABEL

API_VERSION = "jobset.x-k8s.io/v1alpha2"


def job_set(attempt: NewAttempt) -> dict[str, Any]:
    """The manifest."""
    plan, compute = attempt.resolved.plan, attempt.resolved.job.spec.compute
    labels, annotations = attempt.labels, attempt.annotations
    if compute.queue is not None:
        labels[names.QUEUE_LABEL] = compute.queue
    if plan.accelerator_kind == "tpu" and plan.hosts_per_slice > 1:
        # A slice of several hosts is one node pool: its pods must not spread over two.
        annotations[names.EXCLUSIVE_TOPOLOGY] = NODE_POOL_LABEL
    return {
        "apiVersion": API_VERSION,
        "kind": "JobSet",
        "metadata": metadata(attempt.owner, attempt.name, labels, annotations),
        "spec": {
            # Kueue takes the suspension away when it admits the job. Without a queue the field is left alone.
            **({"suspend": True} if compute.queue is not None else {}),
            # Process 0 must be found before it is ready: all of them wait for each other to become so.
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": {"maxRestarts": 0},
            "replicatedJobs": [
                {
                    "name": names.WORKERS,
                    "replicas": plan.slices,
                    "template": {
                        "metadata": {"labels": attempt.labels},
                        "spec": {
                            "completionMode": "Indexed",
                            "completions": plan.hosts_per_slice,
                            "parallelism": plan.hosts_per_slice,
                            "backoffLimit": 0,
                            # A pod that leaves is not replaced: its peers know nothing of a newcomer.
                            "podReplacementPolicy": "Failed",
                            "template": pod_template(attempt),
                        },
                    },
                }
            ],
        },
    }
