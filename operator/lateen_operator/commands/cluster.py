"""The cluster as the commands see it: jobs and their pods in one namespace."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lateen_api.spec.job import GROUP, PLURAL, VERSION
from lateen_api.termination import ExitCode
from lateen_api.wording import closest, listing

from lateen_operator import names
from lateen_operator.commands.errors import CommandError, explained, reason_of

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

TIMEOUT = (5, 30)
"""Seconds to connect, and between two pieces of an answer."""

LONGEST_SILENCE = 24 * 3600
"""Seconds without a line of a log that is followed."""

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Cluster:
    """One namespace of a cluster."""

    client: "ApiClient"
    namespace: str

    def job(self, name: str) -> dict[str, Any]:
        """The resource.

        Raises:
            CommandError: there is no such job, or the API server refused.
        """
        from kubernetes.client.exceptions import ApiException

        with explained(f"read the job {name} in the namespace {self.namespace}", self.host):
            try:
                return self._jobs().get_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=TIMEOUT
                )
            except ApiException as error:
                if error.status != 404 or not reason_of(error)[0]:
                    raise
        raise CommandError(self._no_such_job(name), ExitCode.USER_ERROR)

    def set_suspend(self, name: str, suspend: bool) -> dict[str, Any]:
        """Writes `spec.suspend`; the resource as it is then.

        Raises:
            CommandError: the API server refused.
        """
        with explained(f"change the job {name} in the namespace {self.namespace}", self.host):
            return self._jobs().patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                PLURAL,
                name,
                {"spec": {"suspend": suspend}},
                field_manager="lateen",
                _request_timeout=TIMEOUT,
                _content_type="application/merge-patch+json",
            )

    def pods(self, job: str, attempt: int) -> list[dict[str, Any]]:
        """The trainers of an attempt that the cluster still has.

        Raises:
            CommandError: the API server refused.
        """
        selector = names.selector(job, attempt)
        with explained(f"list pods in the namespace {self.namespace}", self.host):
            answer = self._core().list_namespaced_pod(
                self.namespace, label_selector=selector, _preload_content=False, _request_timeout=TIMEOUT
            )
            return json.loads(answer.data)["items"]

    def log(self, pod: str, *, follow: bool, tail: int | None) -> Iterator[bytes]:
        """The pieces of a trainer's log as they come.

        Raises:
            CommandError: the API server refused, or the connection broke.
        """
        with explained(f"read the log of the pod {pod} in the namespace {self.namespace}", self.host):
            answer = self._core().read_namespaced_pod_log(
                pod,
                self.namespace,
                container=names.CONTAINER,
                follow=follow,
                tail_lines=tail,
                _preload_content=False,
                # A trainer may have nothing to say for a long time.
                _request_timeout=(TIMEOUT[0], LONGEST_SILENCE),
            )
            try:
                yield from answer.stream(amt=None)
            finally:
                answer.release_conn()

    @property
    def host(self) -> str:
        """URL of the API server."""
        return self.client.configuration.host

    def _jobs(self) -> Any:
        from kubernetes.client import CustomObjectsApi

        return CustomObjectsApi(self.client)

    def _core(self) -> Any:
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self.client)

    def _no_such_job(self, name: str) -> str:
        with explained(f"list jobs in the namespace {self.namespace}", self.host):
            listed = self._jobs().list_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, limit=500, _request_timeout=TIMEOUT
            )
        found = [item["metadata"]["name"] for item in listed["items"]]
        there = f"There is no job {name} in the namespace {self.namespace}."
        if meant := closest(name, found):
            return f"{there} Did you mean {meant}?"
        if not found:
            return f"{there} The namespace has no jobs at all: name another by -n."
        more = [f"{len(found) - _NAMES_SHOWN} more"] if len(found) > _NAMES_SHOWN else []
        return f"{there} It has {listing([*found[:_NAMES_SHOWN], *more], 'and')}."


def connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> Cluster:
    """The cluster that the kubeconfig names, as for kubectl; in a pod without one, the pod's own.

    Raises:
        CommandError: there is no kubeconfig, or no such context.
    """
    try:
        from kubernetes import client, config
    except ModuleNotFoundError as error:
        raise CommandError("The Kubernetes client is not installed. Run `pip install 'lateen[operator]'`.") from error
    configuration = client.Configuration()
    # One refusal to connect is answer enough for somebody who waits at a terminal.
    configuration.retries = False
    file = None if kubeconfig is None else str(kubeconfig)
    try:
        if file is None and context is None and _is_in_pod():
            config.load_incluster_config(client_configuration=configuration)
            own = _OWN_NAMESPACE.read_text().strip()
        else:
            config.load_kube_config(file, context, client_configuration=configuration)
            every, active = config.list_kube_config_contexts(file)
            own = _namespace_of(every, active, context)
    except (config.ConfigException, OSError) as error:
        raise CommandError(
            f"There is no cluster: {str(error).rstrip('.')}. Name a kubeconfig file by --kubeconfig or KUBECONFIG, "
            "and one of its contexts by --context.",
            ExitCode.USER_ERROR,
        ) from error
    return Cluster(client.ApiClient(configuration), namespace or own)


def _is_in_pod() -> bool:
    has_file = "KUBECONFIG" in os.environ or (Path.home() / ".kube" / "config").exists()
    return not has_file and "KUBERNETES_SERVICE_HOST" in os.environ


def _namespace_of(contexts: Sequence[Any], active: Any, name: str | None) -> str:
    chosen = next((one for one in contexts if one["name"] == name), active)
    return chosen["context"].get("namespace") or "default"
