"""What the API server told of a namespace's pods, in order: the evidence where a cause in the ledger is wrong."""

import contextlib
import json
import threading
import time
import urllib.request
from typing import Any

from e2e_cluster.harness.api import Api
from lateen_operator.cluster.resources import PODS


class PodHistory:
    """Watches the pods of a namespace, in a thread of its own, until the test's process ends.

    Args:
        api: calls the API server itself, not a proxy.
        namespace: of the pods.
    """

    def __init__(self, api: Api, namespace: str):
        self._api = api
        self._path = PODS.path(namespace, query={"watch": "true"})
        self._lines: list[str] = []
        threading.Thread(target=self._follow, daemon=True).start()

    def of(self, attempt: str) -> str:
        """The lines about the pods of `<job>-a<N>`."""
        return "\n".join(line for line in self._lines if f" {attempt}-" in line)

    def _follow(self) -> None:
        while True:
            with contextlib.suppress(OSError, ValueError):
                headers = {"Authorization": self._api.token} if self._api.token else {}
                request = urllib.request.Request(self._api.url + self._path, headers=headers)
                with urllib.request.urlopen(request, context=self._api.tls) as answer:
                    for line in answer:
                        self._note(json.loads(line))
            time.sleep(0.5)

    def _note(self, event: dict[str, Any]) -> None:
        metadata, status = event["object"].get("metadata", {}), event["object"].get("status", {})
        container = next(iter(status.get("containerStatuses") or ()), {})
        told = {
            "deletion": metadata.get("deletionTimestamp"),
            "grace": metadata.get("deletionGracePeriodSeconds"),
            "finalizers": metadata.get("finalizers"),
            "phase": status.get("phase"),
            "reason": status.get("reason"),
            "disruption": [one for one in status.get("conditions") or () if one["type"] == "DisruptionTarget"],
            "terminated": container.get("state", {}).get("terminated"),
            "version": metadata.get("resourceVersion"),
        }
        known = ", ".join(f"{name} {value}" for name, value in told.items() if value)
        self._lines.append(f"{time.time():.2f} {metadata.get('name')} {event['type']}: {known}")
