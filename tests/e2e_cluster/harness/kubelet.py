"""A kubelet whose pods do what a test says: they run until they are told to end, and then with the code it says.

Everything else (API server, scheduler, Job and JobSet controllers, garbage collection) is real.
"""

import contextlib
import json
import threading
import time
from datetime import UTC, datetime
from typing import Any

from e2e_cluster.harness.api import Api, Refused
from lateen_operator.cluster.resources import PODS, Resource

NODES = Resource("", "v1", "nodes")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
TAINT = "lateen.dev/test-kubelet"
TOLERATION = {"key": TAINT, "operator": "Exists", "effect": "NoSchedule"}
SELECTOR = {TAINT: "yes"}
"""Real nodes have room for these pods, too."""
_CAPACITY = {"cpu": "1000", "memory": "4096Gi", "pods": "4000"}
_LOOK_SECONDS = 0.1
_BEAT_SECONDS = 4.0


class Kubelet:
    """One node.

    Args:
        api: calls the API server.
        node: name of the node, which is created.
        capacity: of the node, beyond the usual.
        pod_address: IP of all its pods.
    """

    def __init__(self, api: Api, node: str, capacity: dict[str, str] | None = None, pod_address: str = "127.0.0.1"):
        self._api = api
        self._node = node
        self._capacity = _CAPACITY | (capacity or {})
        self._address = pod_address
        self._stop = threading.Event()
        self._dead = False
        self.on_term = 42
        """Exit code of a process that is asked to terminate."""

        self._endings: dict[str, tuple[int, str]] = {}
        self._create()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._keep_pods, self._keep_alive)]
        for thread in self._threads:
            thread.start()

    def end(self, pod: str, exit_code: int, message: str = "") -> None:
        """The process of this pod ends by itself."""
        self._endings[pod] = (exit_code, message)

    def stop(self) -> None:
        """Takes the node away."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._api.delete(NODES, None, self._node)
        self._api.delete(LEASES, "kube-node-lease", self._node)

    def _create(self) -> None:
        labels = {"kubernetes.io/hostname": self._node, "kubernetes.io/os": "linux", **SELECTOR}
        metadata = {"name": self._node, "labels": labels}
        taint = {"key": TAINT, "value": "yes", "effect": "NoSchedule"}
        self._api.create(NODES, {"metadata": metadata, "spec": {"taints": [taint]}})
        self._beat()

    def _beat(self) -> None:
        now = _now()
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
        status = {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
        }
        self._api.merge(NODES, None, self._node, {"status": status}, "status")
        micro = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": self._node, "leaseDurationSeconds": 40, "renewTime": micro}
        lease = {"metadata": {"name": self._node, "namespace": "kube-node-lease"}, "spec": spec}
        try:
            self._api.merge(LEASES, "kube-node-lease", self._node, {"spec": spec})
        except Refused:
            self._api.create(LEASES, lease)

    def _keep_alive(self) -> None:
        while not self._stop.wait(_BEAT_SECONDS):
            with contextlib.suppress(Refused, OSError):
                self._beat()

    def _keep_pods(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            with contextlib.suppress(OSError, Refused):
                for pod in self._api.list(PODS, fieldSelector=f"spec.nodeName={self._node}"):
                    with contextlib.suppress(Refused):
                        self._keep(pod)

    def _keep(self, pod: dict[str, Any]) -> None:
        metadata, phase = pod["metadata"], pod["status"].get("phase")
        name = metadata["name"]
        over = phase in ("Succeeded", "Failed")
        if "deletionTimestamp" in metadata:
            if not over:
                self._report(pod, *self._endings.get(name, (self.on_term, "")))
            self._api.delete(PODS, metadata["namespace"], name, gracePeriodSeconds=0)
        elif name in self._endings and not over:
            self._report(pod, *self._endings[name])
        elif phase == "Pending":
            self._report(pod, None, "")

    def _report(self, pod: dict[str, Any], exit_code: int | None, message: str) -> None:
        now, container = _now(), pod["spec"]["containers"][0]
        phase = "Running" if exit_code is None else "Failed" if exit_code else "Succeeded"
        ended = {"exitCode": exit_code, "finishedAt": now, "startedAt": now, "message": message}
        state = {"running": {"startedAt": now}} if exit_code is None else {"terminated": ended}
        up = "True" if exit_code is None else "False"
        kept = [one for one in pod["status"].get("conditions") or () if one["type"] != "Ready"]
        status = {
            "phase": phase,
            "podIP": self._address,
            "podIPs": [{"ip": self._address}],
            "conditions": [*kept, {"type": "Ready", "status": up, "lastTransitionTime": now}],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": exit_code is None,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        self._api.merge(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], {"status": status}, "status")


def saved(step: int, checkpoint: str) -> str:
    """The termination message of a trainer that saved."""
    return json.dumps({"exitCode": 42, "message": "saved", "step": step, "checkpoint": checkpoint})


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
