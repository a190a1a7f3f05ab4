"""Addresses: what the coordinator's is, where to listen, and how gRPC gets there past a proxy."""

import socket
from collections.abc import MutableMapping

from lateen_trainer.errors import UserError

PROXY_VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
CLUSTER_SUFFIXES = (".svc", ".cluster.local")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets.

    Raises:
        UserError: the address has another form.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"LATEEN_COORDINATOR is {address!r}: expected host:port of process 0, as in trainer-0:7070.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def format_address(host: str, port: int) -> str:
    """The inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine's own, so that nobody else need reach it."""
    return host in LOOPBACK or host.startswith("127.")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket at the coordinator's address: on loopback only if that is where the address points.

    Raises:
        UserError: the port is taken or may not be used.
    """
    try:
        if is_loopback(host):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=1024)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise UserError(
            f"LATEEN_COORDINATOR: process 0 cannot listen on port {port} ({error.strerror}). "
            "Choose a free port above 1023, or end the process that holds this one."
        ) from error


def reserve_port(host: str) -> socket.socket:
    """A socket that keeps a free port for a gRPC server of this process, and is closed once that one listens.

    gRPC binds with SO_REUSEPORT, so it may join a port that is held with the same option, while no other
    program gets it. Asking for a free port and letting go of it would leave a gap.
    """
    loopback_v4 = is_loopback(host) and ":" not in host
    v4 = loopback_v4 or not socket.has_dualstack_ipv6()
    holder = socket.socket(socket.AF_INET if v4 else socket.AF_INET6)
    if not v4:
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((host if is_loopback(host) else "", 0))
    return holder


def bypass_proxies(environ: MutableMapping[str, str], host: str) -> None:
    """Keeps connections to the peers off a proxy that the environment names.

    gRPC sends even loopback connections to `http_proxy`, where they hang. Nothing changes without a proxy.
    """
    if not any(environ.get(name) or environ.get(name.upper()) for name in PROXY_VARIABLES):
        return
    for variable in ("no_proxy", "NO_PROXY"):
        known = [entry for entry in environ.get(variable, "").split(",") if entry]
        added = [entry for entry in (*LOOPBACK, *CLUSTER_SUFFIXES, host) if entry not in known]
        environ[variable] = ",".join(known + added)
