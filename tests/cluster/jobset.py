"""The JobSet controller, beside the control plane rather than in a pod, with the manifests of its own module."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from cluster.credentials import Credentials
from cluster.kubectl import Kubectl
from cluster.parts import module_folder, program
from cluster.places import (
    CONFIGURATION,
    JOBSET_HEALTH_PORT,
    JOBSET_METRICS_PORT,
    JOBSET_WEBHOOK_PORT,
)
from cluster.service import Service
from cluster.users import ADMIN
from cluster.web import answers
from cluster.webhooks import reachable

CONTROLLER = Service("jobset")
MODULE = "sigs.k8s.io/jobset"
JOBSET_NAME_LABEL = "jobset.sigs.k8s.io/jobset-name"


def install(credentials: Credentials, kubectl: Kubectl) -> None:
    """Its CRD, then the controller, then the webhooks; returns when JobSets can be created."""
    manifests = module_folder(MODULE) / "config" / "components"
    # The controller gives up when its kind is unknown to the API server.
    kubectl.install_definition(manifests / "crd" / "bases" / "jobset.x-k8s.io_jobsets.yaml")
    _start(credentials)
    CONTROLLER.wait(lambda: answers(f"http://127.0.0.1:{JOBSET_HEALTH_PORT}/readyz"))
    webhooks = yaml.safe_load_all((manifests / "webhook" / "manifests.yaml").read_text())
    kubectl.apply(*(_webhook(webhook, credentials.authority) for webhook in webhooks))


def _start(credentials: Credentials) -> None:
    folder = CONFIGURATION / "jobset"
    folder.mkdir(exist_ok=True)
    shutil.copy(credentials.jobset_webhook.certificate, folder / "tls.crt")
    shutil.copy(credentials.jobset_webhook.key, folder / "tls.key")
    configuration = {
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        # Its own certificates would need the Service and the Secret of an installation in the cluster.
        "internalCertManagement": {"enable": False},
        "webhook": {"host": "127.0.0.1", "port": JOBSET_WEBHOOK_PORT, "certDir": str(folder)},
        "metrics": {"bindAddress": f"127.0.0.1:{JOBSET_METRICS_PORT}"},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{JOBSET_HEALTH_PORT}"},
    }
    file = folder / "configuration.yaml"
    file.write_text(yaml.safe_dump(configuration))
    CONTROLLER.start(program("jobset"), f"--config={file}", environment={"KUBECONFIG": str(ADMIN.kubeconfig)})


def _webhook(configuration: dict[str, Any], authority: Path) -> dict[str, Any]:
    """A webhook configuration as shipped, but pointing at the process on this machine."""
    configuration = reachable(configuration, "jobset", JOBSET_WEBHOOK_PORT, authority)
    for webhook in configuration["webhooks"]:
        if "pods" in webhook["rules"][0]["resources"]:
            # As JobSet's own installation does: its failure must not keep other pods from starting.
            selector = {"matchExpressions": [{"key": JOBSET_NAME_LABEL, "operator": "Exists"}]}
            webhook["objectSelector"] = selector
    return configuration
