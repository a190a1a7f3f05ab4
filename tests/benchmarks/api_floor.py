"""What the API server takes for the operator's writes alone: a bare client carries them out for as many jobs.

The writes are those that the operator made for one job, recorded by a proxy. Carried out again for another job, they
have its name and its UID in them, and nothing is read, compared or decided in between.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.operator_process import OperatorProcess
from e2e_cluster.harness.proxy import Proxy, Write
from lateen_operator.cluster.resources import JOBS, PODS

_EXAMPLE = "example-of-a-job"
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Recorded:
    """The operator's writes for one job."""

    namespace: str
    uid: str
    until_job_set: Sequence[Write]
    """Up to the creation of the JobSet."""

    until_started: Sequence[Write]
    """Those after it, up to the state `Starting` with all pods running."""


def record(api: Api, namespace: str, make_job: Callable[[str, str], dict[str, Any]], hosts: int) -> Recorded:
    """Lets the operator start one job in a namespace, and takes it away again."""
    proxy = Proxy(api)
    try:
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = proxy.kubeconfig(Path(folder) / "kubeconfig")
            operator = OperatorProcess(kubeconfig, namespace, Path(folder) / "operator.log")
            try:
                made = api.create(JOBS, make_job(namespace, _EXAMPLE))
                deadline = time.monotonic() + _START_SECONDS
                while not _has_started(api, namespace, hosts):
                    if time.monotonic() > deadline:
                        raise SystemExit(f"the example did not start within {_START_SECONDS:.0f} s")
                    time.sleep(0.2)
                time.sleep(2)  # the status that says so, and its event
                writes = [write for write in proxy.recorded if _EXAMPLE.encode() in write.path.encode() + write.body]
            finally:
                operator.close()
    finally:
        proxy.stop()
    first = next(number for number, write in enumerate(writes) if "/jobsets" in write.path)
    return Recorded(namespace, made["metadata"]["uid"], writes[: first + 1], writes[first + 1 :])


def _has_started(api: Api, namespace: str, hosts: int) -> bool:
    running = [pod for pod in api.list(PODS, namespace) if pod.get("status", {}).get("phase") == "Running"]
    state = api.get(JOBS, namespace, _EXAMPLE).get("status", {}).get("state")
    return len(running) == hosts and state == "Starting"


class BareClient:
    """Carries recorded writes out, over so many connections."""

    def __init__(self, api: Api, recorded: Recorded, connections: int):
        self._api, self._recorded, self._connections = api, recorded, connections
        self._pool = urllib3.PoolManager(maxsize=connections, block=True, ssl_context=api.tls, retries=False)
        self._uids: dict[str, str] = {}
        self._lock = threading.Lock()

    def create(self, job: dict[str, Any]) -> None:
        """Applies a job, as a user does."""
        made = self._api.create(JOBS, job)
        with self._lock:
            self._uids[job["metadata"]["name"]] = made["metadata"]["uid"]

    def carry_out(self, writes: Sequence[Write], namespace: str, names: Sequence[str]) -> None:
        """Returns when the writes have been carried out for all jobs, in their order for each."""
        with ThreadPoolExecutor(self._connections) as pool:
            list(pool.map(lambda name: self._carry_out_for(writes, namespace, name), names))

    def create_job_sets(self, jobs: Sequence[dict[str, Any]], applying: int) -> None:
        """Applies jobs over so many connections, and carries out what makes a JobSet of each as soon as it is there."""
        names = [job["metadata"]["name"] for job in jobs]
        namespace = jobs[0]["metadata"]["namespace"]
        with ThreadPoolExecutor(applying) as users, ThreadPoolExecutor(self._connections) as workers:
            started = [users.submit(self.create, job) for job in jobs]
            pending = []
            for name, applied in zip(names, started, strict=True):
                applied.result()
                pending.append(workers.submit(self._carry_out_for, self._recorded.until_job_set, namespace, name))
            for one in pending:
                one.result()

    def _carry_out_for(self, writes: Sequence[Write], namespace: str, name: str) -> None:
        for write in writes:
            self._send(write, namespace, name)

    def _send(self, write: Write, namespace: str, name: str) -> None:
        recorded = self._recorded

        def of_this_job(text: str) -> str:
            text = text.replace(_EXAMPLE, name).replace(recorded.uid, self._uids[name])
            return text.replace(recorded.namespace, namespace)

        headers = {"Content-Type": write.content_type}
        if self._api.token:
            headers["Authorization"] = self._api.token
        url = self._api.url + of_this_job(write.path)
        body = of_this_job(_unversioned(write.body)).encode()
        answer = self._pool.request(write.method, url, body=body, headers=headers)
        if answer.status >= 400:
            raise SystemExit(f"{write.method} {url}: {answer.status} {answer.data[:500]!r}")


def _unversioned(body: bytes) -> str:
    """Without the version of the object that was to be changed, which another object does not have."""
    changed = json.loads(body) if body else None
    if isinstance(changed, dict):
        changed.get("metadata", {}).pop("resourceVersion", None)
    return "" if changed is None else json.dumps(changed)
