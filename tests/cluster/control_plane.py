"""etcd, the API server, the controller manager and the scheduler, on this machine's own network."""

from cluster.credentials import Credentials
from cluster.kubectl import Kubectl
from cluster.parts import program
from cluster.places import (
    API_PORT,
    CONTROLLER_MANAGER_PORT,
    ETCD_DATA,
    ETCD_PEER_PORT,
    ETCD_URL,
    HOST_ADDRESS,
    SCHEDULER_PORT,
    SERVICE_NETWORK,
)
from cluster.service import Service
from cluster.users import CONTROLLER_MANAGER, SCHEDULER, TOKENS

ETCD = Service("etcd")
API_SERVER = Service("kube-apiserver")
CONTROLLERS = Service("kube-controller-manager")
SCHEDULING = Service("kube-scheduler")


def start_etcd() -> None:
    """etcd without fsync: it loses data when the machine does, and the cluster is gone then anyway."""
    peers = f"http://127.0.0.1:{ETCD_PEER_PORT}"
    ETCD.start(
        program("etcd"),
        f"--data-dir={ETCD_DATA}",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def start_api_server(credentials: Credentials, kubectl: Kubectl) -> None:
    """The API server; returns when it is ready."""
    API_SERVER.start(
        program("kube-apiserver"),
        f"--etcd-servers={ETCD_URL}",
        f"--bind-address={HOST_ADDRESS}",
        f"--advertise-address={HOST_ADDRESS}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--tls-cert-file={credentials.api_server.certificate}",
        f"--tls-private-key-file={credentials.api_server.key}",
        f"--client-ca-file={credentials.authority}",
        f"--token-auth-file={TOKENS}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.service_accounts.certificate}",
        f"--service-account-signing-key-file={credentials.service_accounts.key}",
        f"--kubelet-client-certificate={credentials.kubelet_client.certificate}",
        f"--kubelet-client-key={credentials.kubelet_client.key}",
        # Else `kubectl logs` asks the DNS for the node's name.
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged",
        "--profiling=false",
    )
    API_SERVER.wait(lambda: kubectl.succeeds("get", "--raw", "/readyz"))


def start_controllers(credentials: Credentials) -> None:
    """The controller manager. A node that says nothing for 20 s is NotReady."""
    CONTROLLERS.start(
        program("kube-controller-manager"),
        f"--kubeconfig={CONTROLLER_MANAGER.kubeconfig}",
        f"--secure-port={CONTROLLER_MANAGER_PORT}",
        "--bind-address=127.0.0.1",
        f"--service-account-private-key-file={credentials.service_accounts.key}",
        f"--root-ca-file={credentials.authority}",
        "--use-service-account-credentials",
        # The nodes' network is made by network.py.
        "--controllers=*,-nodeipam",
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=20s",
        "--leader-elect=false",
        "--profiling=false",
    )


def start_scheduler() -> None:
    SCHEDULING.start(
        program("kube-scheduler"),
        f"--kubeconfig={SCHEDULER.kubeconfig}",
        f"--secure-port={SCHEDULER_PORT}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
    )
