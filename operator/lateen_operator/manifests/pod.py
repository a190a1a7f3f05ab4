"""The pod of one host: a single container that is the trainer, with no rights and no writable root."""

import copy
from typing import Any

from lateen_operator import names
from lateen_operator.manifests.attempt import NewAttempt
from lateen_operator.manifests.environ import TERMINATION_LOG, variables
from lateen_operator.manifests.gpu_network import network_template
from lateen_operator.manifests.override import merged
from lateen_operator.manifests.scheduling import avoiding, avoids_nodes, resources, scheduling
from lateen_operator.manifests.storage import OWN_FOLDERS
from lateen_operator.reconcile import Timeouts

USER = 1000
"""Number of the image's user and group. Volumes that can be given to a group are given to it."""


def pod_template(attempt: NewAttempt, *, strictly: bool = False) -> dict[str, Any]:
    """The template of an attempt's pods, the job's own podTemplate merged in last.

    Args:
        attempt: whose they are.
        strictly: they rather wait than run on a node that should be avoided.
    """
    template = {
        "metadata": {
            "labels": attempt.labels,
            "annotations": {names.SPEC_DIGEST: attempt.resolved.digest},
        },
        "spec": _pod_spec(attempt),
    }
    template = merged(template, network_template(attempt.resolved.plan))
    template = merged(template, attempt.resolved.job.spec.compute.pod_template)
    # After the merge: a nodeAffinity of the job's own must not bring a broken node back.
    nodes = attempt.avoid if avoids_nodes(attempt.resolved.plan) else ()
    return {**template, "spec": avoiding(template["spec"], nodes, strictly=strictly)}


def _pod_spec(attempt: NewAttempt) -> dict[str, Any]:
    spec = attempt.resolved.job.spec
    compute = spec.compute
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": spec.recovery.grace_seconds + round(Timeouts().margin),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": compute.service_account} if compute.service_account else {}),
        **({"priorityClassName": compute.priority_class} if compute.priority_class else {}),
        **scheduling(spec, attempt.resolved.plan),
        "securityContext": pod_security(fixed_user=attempt.settings.fixed_user),
        "containers": [_trainer(attempt)],
        "volumes": [*own_volumes(attempt.name), *copy.deepcopy(compute.volumes)],
    }


def _trainer(attempt: NewAttempt) -> dict[str, Any]:
    spec, plan, settings = attempt.resolved.job.spec, attempt.resolved.plan, attempt.settings
    compute = spec.compute
    wanted = resources(spec, plan)
    ports = [("metrics", settings.metrics_port), ("coordinator", names.COORDINATOR_PORT)]
    return {
        "name": names.CONTAINER,
        "image": image(attempt),
        "imagePullPolicy": compute.image_pull_policy or settings.image_pull_policy,
        # No shell in between: SIGTERM must reach the trainer.
        "command": ["lateen", "train"],
        "env": variables(
            spec,
            plan,
            attempt.name,
            attempt.number,
            settings.metrics_port,
            checkpoint_step=attempt.checkpoint_step,
        ),
        **({"envFrom": [{"secretRef": {"name": secret}} for secret in compute.secrets]} if compute.secrets else {}),
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports],
        **({"resources": wanted} if wanted else {}),
        "securityContext": container_security(),
        # Not a livenessProbe: the trainer watches over its own steps, and a restart in place helps nobody.
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": "metrics"},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            *own_mounts(),
            *copy.deepcopy(compute.volume_mounts),
        ],
    }


def image(attempt: NewAttempt) -> str:
    """The image of an attempt's pods."""
    kind = attempt.resolved.plan.accelerator_kind
    return attempt.resolved.job.spec.compute.image or attempt.settings.image_for(kind)


def pod_security(*, fixed_user: bool) -> dict[str, Any]:
    """Not root, with the system calls that the runtime allows by default.

    Args:
        fixed_user: as the image's user; else the cluster chooses, and may refuse pods that do.
    """
    ids = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER} if fixed_user else {}
    return {
        "runAsNonRoot": True,
        **ids,
        # Changing the owner of every file of a large corpus at every start would take minutes.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """No way to more rights, and nothing to write to but what is mounted."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def own_mounts() -> list[dict[str, Any]]:
    """Where a pod sees its `own_volumes`."""
    return [{"name": name, "mountPath": path, **_read_only(name)} for name, path in OWN_FOLDERS.items()]


def own_volumes(config_map: str) -> list[dict[str, Any]]:
    """The volumes that every pod of a job has.

    Args:
        config_map: name of the one that holds the job.
    """
    job, run, tmp, memory = OWN_FOLDERS
    return [
        # The ledger in the same ConfigMap is none of the trainer's business.
        {
            "name": job,
            "configMap": {"name": config_map, "items": [{"key": names.JOB_KEY, "path": names.JOB_KEY}]},
        },
        {"name": run, "emptyDir": {}},
        {"name": tmp, "emptyDir": {}},
        # A container's own /dev/shm has 64 MiB: NCCL and the reading of data fill that, and die of SIGBUS.
        {"name": memory, "emptyDir": {"medium": "Memory"}},
    ]


def _read_only(name: str) -> dict[str, bool]:
    return {"readOnly": True} if name == "lateen-job" else {}
