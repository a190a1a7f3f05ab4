"""Who may speak to the API server: a token and a kubeconfig for each part of the cluster, and for its owner."""

import csv
import secrets
from dataclasses import dataclass
from pathlib import Path

import yaml

from cluster.places import API_URL, CONFIGURATION

TOKENS = CONFIGURATION / "tokens.csv"


@dataclass(frozen=True)
class User:
    """What the API server takes the bearer of a token for."""

    name: str
    group: str = ""

    @property
    def kubeconfig(self) -> Path:
        return CONFIGURATION / f"{self.name.replace(':', '-')}.kubeconfig"


ADMIN = User("lateen-cluster-admin", "system:masters")
CONTROLLER_MANAGER = User("system:kube-controller-manager")
SCHEDULER = User("system:kube-scheduler")
PROXY = User("system:kube-proxy")


def node_user(node: str) -> User:
    """The kubelet of `node`: it may read and write what belongs to its own node, and no more."""
    return User(f"system:node:{node}", "system:nodes")


def write_users(users: list[User], authority: Path) -> None:
    """Give each of `users` a new token: all go into the API server's token file, each into the user's kubeconfig."""
    CONFIGURATION.mkdir(parents=True, exist_ok=True)
    with TOKENS.open("w", newline="") as file:
        TOKENS.chmod(0o600)
        tokens = csv.writer(file)
        for user in users:
            token = secrets.token_urlsafe(24)
            tokens.writerow([token, user.name, user.name, user.group])
            _write_kubeconfig(user, token, authority)


def _write_kubeconfig(user: User, token: str, authority: Path) -> None:
    name = "lateen-cluster"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": API_URL, "certificate-authority": str(authority)}}],
        "users": [{"name": user.name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user.name}}],
        "current-context": name,
    }
    user.kubeconfig.touch(mode=0o600)
    user.kubeconfig.write_text(yaml.safe_dump(content))
