"""CoreDNS on the bridge's address: the names of Services and of JobSets' pods, and no other names."""

from cluster.parts import program
from cluster.places import CLUSTER_DOMAIN, CONFIGURATION, DNS_HEALTH_PORT, DNS_PORT, HOST_ADDRESS
from cluster.service import Service
from cluster.users import ADMIN
from cluster.web import answers

SERVER = Service("coredns")

# A name is asked for before its pod has an address, and again after the pod was replaced: answers must not linger.
COREFILE = f"""\
.:{DNS_PORT} {{
    bind {HOST_ADDRESS}
    errors
    health 127.0.0.1:{DNS_HEALTH_PORT}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {ADMIN.kubeconfig}
        ttl 1
    }}
}}
"""


def start() -> None:
    """Start it; returns when it answers."""
    file = CONFIGURATION / "Corefile"
    file.write_text(COREFILE)
    SERVER.start(program("coredns"), "-conf", file)
    SERVER.wait(lambda: answers(f"http://127.0.0.1:{DNS_HEALTH_PORT}/health"))
