"""Calls to the API server from tests: plain dictionaries, no waiting, no retries."""

import copy
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from kubernetes.client import Configuration
from kubernetes.config import load_kube_config
from lateen_operator.cluster.resources import Resource


class Refused(Exception):
    """The API server said no."""

    def __init__(self, status: int, text: str):
        super().__init__(f"{status} {text}")
        self.status = status


class Api:
    """The API server of a kubeconfig."""

    def __init__(self, kubeconfig: Path):
        configuration = Configuration()
        load_kube_config(str(kubeconfig), client_configuration=configuration)
        self.url = str(configuration.host)
        self.authority = str(configuration.ssl_ca_cert)
        self.token = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        self._tls = ssl.create_default_context(cafile=self.authority)
        if configuration.cert_file:
            self._tls.load_cert_chain(configuration.cert_file, configuration.key_file)

    def as_service_account(self, namespace: str, name: str) -> "Api":
        """The same API server for a service account."""
        path = Resource("", "v1", "serviceaccounts").path(namespace, name, "token")
        other = copy.copy(self)
        other.token = f"Bearer {self.call('POST', path, {'spec': {}})['status']['token']}"
        other._tls = ssl.create_default_context(cafile=self.authority)
        return other

    @property
    def tls(self) -> ssl.SSLContext:
        return self._tls

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        """One call; Refused unless it succeeds."""
        headers = {"Content-Type": content_type, "Accept": accept} | (
            {"Authorization": self.token} if self.token else {}
        )
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from error

    def list(self, resource: Resource, namespace: str | None = None, **query: str) -> list[dict[str, Any]]:
        return self.call("GET", resource.path(namespace, query=query or None))["items"]

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return self.call("GET", resource.path(namespace, name))

    def create(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        return self.call("POST", resource.path(body["metadata"].get("namespace")), body)

    def merge(
        self, resource: Resource, namespace: str | None, name: str, patch: Any, subresource: str | None = None
    ) -> dict[str, Any]:
        path = resource.path(namespace, name, subresource)
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, resource: Resource, namespace: str | None, name: str, **options: Any) -> None:
        try:
            self.call("DELETE", resource.path(namespace, name), options or None)
        except Refused as error:
            if error.status != 404:
                raise
