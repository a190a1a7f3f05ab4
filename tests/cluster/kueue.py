"""Kueue, beside the control plane like JobSet's controller, with the manifests of its own module.

Only the tests about queues install it: its webhooks see each JobSet of the cluster.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from cluster.certificates import Authority
from cluster.kubectl import Kubectl
from cluster.parts import module_folder, program
from cluster.places import CERTIFICATES, CONFIGURATION, KUEUE_HEALTH_PORT, KUEUE_WEBHOOK_PORT
from cluster.service import Service
from cluster.users import ADMIN
from cluster.web import answers
from cluster.webhooks import client_config, reachable

CONTROLLER = Service("kueue")
MODULE = "sigs.k8s.io/kueue"
GROUP = "kueue.x-k8s.io"
NAMESPACE = "kueue-system"
_FRAMEWORK = "jobset.x-k8s.io"
_ENTER = 'mount --bind "$0" /etc && exec "$@"'


def install(kubectl: Kubectl) -> None:
    """Its definitions, then the controller, then the webhooks; returns when queues and JobSets can be created."""
    # The cluster's own authority keeps no key on disk.
    authority = Authority(CERTIFICATES / "kueue", datetime.now(UTC))
    certificate = authority.sign("kueue-webhook", hosts=("127.0.0.1", "localhost"))
    definitions = [_with_conversion(definition, authority.certificate) for definition in _definitions()]
    kubectl.apply(*definitions)
    for definition in definitions:
        kubectl.wait_until_served(definition["metadata"]["name"])
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    _start(certificate.certificate, certificate.key)
    CONTROLLER.wait(lambda: answers(f"http://127.0.0.1:{KUEUE_HEALTH_PORT}/readyz"))
    kubectl.apply(*_webhooks(authority.certificate))


def remove(kubectl: Kubectl) -> None:
    """Everything that `install` made; queues and Workloads go with their kinds."""
    # Kueue takes its finalizers off as long as it runs.
    names = [definition["metadata"]["name"] for definition in _definitions()]
    kubectl("delete", "customresourcedefinitions", "--ignore-not-found", *names, "--timeout=60s")
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        # As _webhooks named them: kueue-mutating-webhook-configuration.
        name = f"kueue-{kind.removesuffix('webhookconfigurations')}-webhook-configuration"
        kubectl("delete", kind, "--ignore-not-found", name)
    kubectl("delete", "namespace", "--ignore-not-found", NAMESPACE, "--timeout=60s")
    CONTROLLER.stop()


def _manifests() -> Path:
    return module_folder(MODULE, of="kueue") / "config" / "components"


def _definitions() -> list[dict[str, Any]]:
    return [yaml.safe_load(file.read_text()) for file in sorted((_manifests() / "crd" / "bases").glob("*.yaml"))]


def _with_conversion(definition: dict[str, Any], authority: Path) -> dict[str, Any]:
    """The definition with the conversion webhook that Kueue's own installation gives it, if it has one."""
    plural = definition["spec"]["names"]["plural"]
    patch = _manifests() / "crd" / "patches" / f"webhook_in_{plural}.yaml"
    enabled = yaml.safe_load((_manifests() / "crd" / "kustomization.yaml").read_text())["patches"]
    if {"path": f"patches/{patch.name}"} not in enabled:
        return definition
    conversion = yaml.safe_load(patch.read_text())["spec"]["conversion"]
    path = conversion["webhook"]["clientConfig"]["service"]["path"]
    conversion["webhook"]["clientConfig"] = client_config(path, KUEUE_WEBHOOK_PORT, authority)
    definition["spec"]["conversion"] = conversion
    return definition


def _start(certificate: Path, key: Path) -> None:
    folder = CONFIGURATION / "kueue"
    # Without certificates of its own making it reads those of its metrics from a fixed folder.
    etc = folder / "etc"
    metrics = etc / "kueue" / "metrics" / "certs"
    metrics.mkdir(parents=True, exist_ok=True)
    for place in (folder, metrics):
        shutil.copy(certificate, place / "tls.crt")
        shutil.copy(key, place / "tls.key")
    configuration = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": "127.0.0.1", "port": KUEUE_WEBHOOK_PORT, "certDir": str(folder)},
        "metrics": {"bindAddress": "0"},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{KUEUE_HEALTH_PORT}"},
        "integrations": {"frameworks": ["jobset.x-k8s.io/jobset"]},
        # A second API server, for `kubectl get --raw …/pendingworkloads`.
        "featureGates": {"VisibilityOnDemand": False},
    }
    file = folder / "configuration.yaml"
    file.write_text(yaml.safe_dump(configuration))
    CONTROLLER.start(
        program("kueue"),
        f"--config={file}",
        inside=("unshare", "--mount", "sh", "-c", _ENTER, etc),
        environment={"KUBECONFIG": str(ADMIN.kubeconfig)},
    )


def _webhooks(authority: Path) -> list[dict[str, Any]]:
    """Those about Kueue's own kinds and JobSets: the other frameworks are not part of the cluster."""
    shipped = yaml.safe_load_all((_manifests() / "webhook" / "manifests.yaml").read_text())
    found = []
    for configuration in shipped:
        webhooks = [of for of in configuration["webhooks"] if of["rules"][0]["apiGroups"][0] in (GROUP, _FRAMEWORK)]
        found.append(reachable(configuration | {"webhooks": webhooks}, "kueue", KUEUE_WEBHOOK_PORT, authority))
    return found
