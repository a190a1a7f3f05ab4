"""All certificates of one cluster."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cluster.certificates import Authority, KeyPair
from cluster.places import API_SERVICE_ADDRESS, CERTIFICATES, CLUSTER_DOMAIN, HOST_ADDRESS


@dataclass(frozen=True)
class Credentials:
    """Files that the parts are started with."""

    authority: Path
    api_server: KeyPair
    kubelet_client: KeyPair
    """With which the API server asks kubelets for logs."""
    service_accounts: KeyPair
    jobset_webhook: KeyPair


def make_credentials(now: datetime) -> Credentials:
    """An authority and everything it signs, new files in place of old ones."""
    authority = Authority(CERTIFICATES, now)
    return Credentials(
        authority=authority.certificate,
        api_server=authority.sign("api-server", hosts=_api_server_hosts()),
        kubelet_client=authority.sign("kubelet-client", user="kube-apiserver-kubelet-client", group="system:masters"),
        service_accounts=authority.service_account_key(),
        jobset_webhook=authority.sign("jobset-webhook", hosts=("127.0.0.1", "localhost")),
    )


def _api_server_hosts() -> tuple[str, ...]:
    """What the API server is called by its clients, outside and inside the cluster."""
    service = "kubernetes.default.svc"
    names = ("kubernetes", "kubernetes.default", service, f"{service}.{CLUSTER_DOMAIN}")
    return (str(HOST_ADDRESS), str(API_SERVICE_ADDRESS), *names)
