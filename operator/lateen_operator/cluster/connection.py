"""The way to the API server: HTTP sessions, one for our own calls and one for kopf's watches.

Credentials are put into each request as it is sent, so that tokens which are replaced while the operator runs (those
of service accounts are, every hour) need no new session.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

from lateen_operator.cluster.metrics import Metrics
from lateen_operator.settings import OperatorSettings

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_KEPT_SECONDS = 60.0
_CONNECT_SECONDS = 10.0


class ConnectionFailed(Exception):
    """There is no way to a cluster: the message says what was tried."""


@dataclass(frozen=True)
class Server:
    """Where an API server is, and how one is let in."""

    url: str
    tls: ssl.SSLContext
    authorization: Callable[[], str | None]
    """Value of the header, fresh; may read files or call programs."""


def find_server(settings: OperatorSettings, *, service_account: Path = _SERVICE_ACCOUNT) -> Server:
    """The API server of the pod that this runs in, or of the kubeconfig.

    Raises:
        ConnectionFailed: there is neither, or the kubeconfig cannot be used.
    """
    if settings.kubeconfig is None and settings.context is None and (service_account / "token").exists():
        return _in_cluster(service_account)
    return _by_kubeconfig(settings)


def _in_cluster(folder: Path) -> Server:
    tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    return Server("https://kubernetes.default.svc", tls, lambda: f"Bearer {(folder / 'token').read_text().strip()}")


def _by_kubeconfig(settings: OperatorSettings) -> Server:
    # Imported only here: within a cluster nobody needs it.
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_kube_config

    configuration = Configuration()
    try:
        load_kube_config(
            None if settings.kubeconfig is None else str(settings.kubeconfig),
            settings.context,
            client_configuration=configuration,
        )
    except (ConfigException, OSError) as error:
        where = f"{settings.kubeconfig}: " if settings.kubeconfig else "kubeconfig: "
        raise ConnectionFailed(
            f"{where}{error}. Expected a kubeconfig that kubectl can use; give one by --kubeconfig or KUBECONFIG."
        ) from error

    def authorization() -> str | None:
        # Runs the kubeconfig's credential program when what it gave last has expired.
        return configuration.get_api_key_with_prefix("BearerToken", alias="authorization")

    return Server(str(configuration.host).rstrip("/"), _tls(configuration), authorization)


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Authorization:
    """Puts the header into each request; asks for a new one when the server does not take it."""

    def __init__(self, server: Server, clock: Callable[[], float]):
        self._server = server
        self._clock = clock
        self._header: str | None = None
        self._until = 0.0

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        await self._put(request)
        response = await handler(request)
        if response.status == 401:
            response.release()
            self._until = 0.0
            await self._put(request)
            response = await handler(request)
        return response

    async def _put(self, request: ClientRequest) -> None:
        if self._clock() >= self._until:
            # It may read a file or run a program.
            self._header = await asyncio.to_thread(self._server.authorization)
            self._until = self._clock() + _TOKEN_KEPT_SECONDS
        if self._header is not None:
            request.headers["Authorization"] = self._header


class Accounting:
    """Counts requests."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]):
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        started = self._clock()
        is_watch = "watch=true" in request.url.raw_query_string
        verb = "WATCH" if is_watch else request.method
        try:
            response = await handler(request)
        except (aiohttp.ClientError, TimeoutError):
            self._metrics.requests.labels(verb, "none").inc()
            raise
        self._metrics.requests.labels(verb, str(response.status)).inc()
        if not is_watch:
            self._metrics.request_seconds.observe(self._clock() - started)
        return response


def open_session(server: Server, metrics: Metrics, *around: ClientMiddlewareType) -> aiohttp.ClientSession:
    """A session for requests to this server. The caller closes it.

    Args:
        server: to which the requests go.
        metrics: count them.
        around: further middlewares, which see each request before and each answer after all else.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=server.tls, limit=0),
        timeout=aiohttp.ClientTimeout(total=60.0, sock_connect=_CONNECT_SECONDS),
        headers={"User-Agent": "lateen-operator"},
        middlewares=(*around, Accounting(metrics, time.monotonic), Authorization(server, time.monotonic)),
    )
