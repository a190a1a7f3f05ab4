"""The pods that build a job's token caches (`spec.data.prepare`): a JobSet of their own, on CPUs.

Unlike an attempt, its Job restarts what fails: builders share nothing but the store, so each may come and go.
https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
"""

import copy
from dataclasses import dataclass
from typing import Any

from lateen_api.environment import ProcessEnvironment
from lateen_api.spec.data import PrepareSpec
from lateen_api.termination import ExitCode

from lateen_operator import names
from lateen_operator.manifests.environ import HOME, TERMINATION_LOG
from lateen_operator.manifests.job_set import API_VERSION
from lateen_operator.manifests.owner import Owner, metadata
from lateen_operator.manifests.pod import container_security, own_mounts, own_volumes, pod_security
from lateen_operator.manifests.scheduling import spot_scheduling
from lateen_operator.manifests.storage import JOB_FOLDER, RUN_FOLDER
from lateen_operator.resolve import Resolved
from lateen_operator.settings import OperatorSettings


@dataclass(frozen=True)
class NewBuilders:
    """The builders of a job, before they exist."""

    owner: Owner
    resolved: Resolved
    settings: OperatorSettings

    @property
    def name(self) -> str:
        """Name of their JobSet and their ConfigMap."""
        return names.builders_name(self.owner.name)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of their objects."""
        return names.labels(self.owner.name, names.BUILDERS_ATTEMPT)

    @property
    def annotations(self) -> dict[str, str]:
        """What the operator reads back when it has forgotten everything."""
        return {names.SPEC_DIGEST: str(self.resolved.target.builders)}

    @property
    def prepare(self) -> PrepareSpec:
        """What the job asks for."""
        prepare = self.resolved.job.spec.data.prepare
        assert prepare is not None, "builders of a job without spec.data.prepare"
        return prepare


def builders_config_map(builders: NewBuilders) -> dict[str, Any]:
    """The manifest of the job as they read it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(builders.owner, builders.name, builders.labels, builders.annotations),
        "immutable": True,
        "data": {names.JOB_KEY: builders.resolved.resolved_json},
    }


def builders_job_set(builders: NewBuilders) -> dict[str, Any]:
    """The manifest."""
    hosts, recovery = builders.prepare.hosts, builders.resolved.job.spec.recovery
    return {
        "apiVersion": API_VERSION,
        "kind": "JobSet",
        "metadata": metadata(builders.owner, builders.name, builders.labels, builders.annotations),
        "spec": {
            "failurePolicy": {"maxRestarts": 0},
            "replicatedJobs": [
                {
                    "name": names.WORKERS,
                    "replicas": 1,
                    "template": {
                        "metadata": {"labels": builders.labels},
                        "spec": {
                            "completionMode": "Indexed",
                            "completions": hosts,
                            "parallelism": hosts,
                            "backoffLimit": recovery.max_infrastructure_failures,
                            "podReplacementPolicy": "Failed",
                            "podFailurePolicy": {"rules": _failure_rules()},
                            "template": _pod_template(builders),
                        },
                    },
                }
            ],
        },
    }


def _failure_rules() -> list[dict[str, Any]]:
    """What is wrong with the job ends all of them; evictions and the like are not counted."""
    final, asked = [ExitCode.USER_ERROR, ExitCode.BAD_DATA], [ExitCode.SAVED, ExitCode.NOT_SAVED]
    return [
        {"action": "FailJob", "onExitCodes": _exit_codes(final)},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": _exit_codes(asked)},
    ]


def _exit_codes(codes: list[ExitCode]) -> dict[str, Any]:
    return {"containerName": names.CONTAINER, "operator": "In", "values": sorted(int(code) for code in codes)}


def _pod_template(builders: NewBuilders) -> dict[str, Any]:
    spec = builders.resolved.job.spec
    compute = spec.compute
    secrets = compute.pod_template.get("spec", {}).get("imagePullSecrets")
    return {
        "metadata": {"labels": builders.labels, "annotations": builders.annotations},
        "spec": {
            "restartPolicy": "Never",
            # What is built is kept by whole parts: there is nothing to save.
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **({"serviceAccountName": compute.service_account} if compute.service_account else {}),
            **({"priorityClassName": compute.priority_class} if compute.priority_class else {}),
            **({"imagePullSecrets": copy.deepcopy(secrets)} if secrets else {}),
            **(spot_scheduling() if builders.prepare.spot else {}),
            "securityContext": pod_security(fixed_user=builders.settings.fixed_user),
            "containers": [_container(builders)],
            "volumes": [*own_volumes(builders.name), *copy.deepcopy(compute.volumes)],
        },
    }


def _container(builders: NewBuilders) -> dict[str, Any]:
    compute, settings = builders.resolved.job.spec.compute, builders.settings
    amounts = {"cpu": builders.prepare.cpu, "memory": builders.prepare.memory}
    given = {name: amount for name, amount in amounts.items() if amount is not None}
    return {
        "name": names.CONTAINER,
        "image": compute.image or settings.image_for("cpu"),
        "imagePullPolicy": compute.image_pull_policy or settings.image_pull_policy,
        "command": ["lateen", "prepare-data"],
        "env": _variables(builders),
        **({"envFrom": [{"secretRef": {"name": secret}} for secret in compute.secrets]} if compute.secrets else {}),
        "ports": [{"name": "metrics", "containerPort": settings.metrics_port, "protocol": "TCP"}],
        **({"resources": {"requests": given, "limits": dict(given)}} if given else {}),
        "securityContext": container_security(),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [*own_mounts(), *copy.deepcopy(compute.volume_mounts)],
    }


def _variables(builders: NewBuilders) -> list[dict[str, Any]]:
    told = ProcessEnvironment(
        job_file=f"{JOB_FOLDER}/{names.JOB_KEY}",
        metrics_port=builders.settings.metrics_port,
        run_dir=RUN_FOLDER,
        termination_log=TERMINATION_LOG,
    ).to_environ()
    chosen = {"HOME": HOME} | builders.resolved.job.spec.compute.env | {"JAX_PLATFORMS": "cpu"}
    return [{"name": name, "value": value} for name, value in (chosen | told).items()]
