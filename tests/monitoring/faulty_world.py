"""An operator's process and trainers' processes at an API server in memory, which faults are injected into.

Nothing stands in for operator and trainers: they are `lateen operator` and `lateen train`. What a cluster would do for
them (a kubelet that starts pods) the test does, and says so to the operator over its watches.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from lateen_api.environment import ProcessEnvironment
from lateen_operator.cluster.resources import JOB_SETS, JOBS, PODS, Resource
from lateen_operator.local.ports import free_ports
from lateen_operator.manifests.config_map import config_map
from monitoring.storing_api_server import Object, StoringApiServer, now
from stored_jobs import NANO, attempt

NAMESPACE = "team"


@dataclass
class FaultyWorld:
    """All of it, while it runs.

    Args:
        folder: for runs, logs and the kubeconfig.
        bookmarks: the API server sends bookmarks over its watches, as it does about once a minute.
    """

    folder: Path
    server: StoringApiServer
    loop: asyncio.AbstractEventLoop
    operator_port: int
    trainer_port: int
    bookmarks: bool = True
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_operator(self) -> None:
        cluster = {"name": "fake", "cluster": {"server": self.server.url}}
        context = {"name": "fake", "context": {"cluster": "fake", "user": "fake"}}
        kubeconfig = self.folder / "kubeconfig"
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "fake", "clusters": [cluster],
            "contexts": [context], "users": [{"name": "fake", "user": {}}],
        }  # fmt: skip
        kubeconfig.write_text(yaml.safe_dump(config))
        self._start(
            "operator", "operator", f"--kubeconfig={kubeconfig}", f"--server-port={self.operator_port}",
            f"--metrics-port={self.trainer_port}", "--poll-seconds=0.2",
        )  # fmt: skip

    def start_trainer(
        self,
        name: str,
        address: str,
        spec: Object,
        *,
        process: int = 0,
        coordinator: str | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        """A process of the first attempt of a job, of which the operator need not know yet.

        Args:
            process: its number.
            coordinator: where process 0 waits for the others of `spec.compute.hosts`; None: there are none.
            environ: further variables of it.
        """
        run_dir = self.folder / name
        run_dir.mkdir(exist_ok=True)
        stored = {**NANO, "metadata": {**NANO["metadata"], "namespace": NAMESPACE, "name": name}, "spec": spec}
        (run_dir / "job.json").write_text(config_map(attempt(stored), "[]")["data"]["job.json"])
        environment = ProcessEnvironment(
            job_file=str(run_dir / "job.json"),
            metrics_port=self.trainer_port,
            metrics_host=address,
            run_dir=str(run_dir),
            termination_log=str(run_dir / f"termination-log-{process}"),
            hosts_per_slice=spec["compute"].get("hosts", 1),
            host_index=process,
            coordinator=coordinator,
        )
        program = f"{name}-{process}" if process else name
        self._start(program, "train", environ={**environment.to_environ(), **(environ or {})})

    def _start(self, name: str, *arguments: str, environ: dict[str, str] | None = None) -> None:
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "lateen_api.cli", *arguments],
                stdout=log, stderr=log, env={**os.environ, "JAX_PLATFORMS": "cpu", **(environ or {})},
            )  # fmt: skip

    def apply(self, name: str, spec: Object) -> None:
        """Stores a job of this spec."""
        metadata = {"name": name, "namespace": NAMESPACE, "generation": 1, "creationTimestamp": now()}
        job = {"apiVersion": "lateen.dev/v1alpha1", "kind": "LMTrainingJob", "metadata": metadata, "spec": spec}
        self._in_loop(lambda: self.server.put(JOBS, job))

    def state(self, name: str) -> str | None:
        """In the job's status."""
        job = self._stored(JOBS, name) or {}
        return job.get("status", {}).get("state")

    def _stored(self, resource: Resource, name: str) -> Object | None:
        return self._in_loop(lambda: self.server.stored(resource, NAMESPACE, name))

    def run_pod(self, job: str, address: str, *, attempt: int = 1) -> None:
        """The pod of the job's attempt runs at this address."""
        running = {"running": {"startedAt": now()}}
        self._put_pod(job, attempt, status={**_on_node("Running", running), "podIP": address})

    def end_pod(self, job: str, exit_code: int, *, attempt: int = 1) -> None:
        """The pod of the job's attempt has ended."""
        ended = {"terminated": {"exitCode": exit_code, "finishedAt": now()}}
        self._put_pod(job, attempt, status=_on_node("Failed", ended))

    def pend_pod(self, job: str, *, attempt: int = 1) -> None:
        """The scheduler finds no machine for the pod of the job's attempt."""
        message = "0/3 nodes are available: 3 Insufficient cpu."
        unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        self._put_pod(job, attempt, status={"phase": "Pending", "conditions": [unplaced]}, node=None)

    def _put_pod(self, job: str, attempt: int, *, status: Object, node: str | None = "node-0") -> None:
        name = f"{job}-a{attempt}"
        job_set = self.wait(lambda: self._stored(JOB_SETS, name), f"the JobSet {name}")
        template = job_set["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
        labels = {
            **template["metadata"]["labels"],
            "jobset.sigs.k8s.io/jobset-name": name,
            "jobset.sigs.k8s.io/job-index": "0",
            "batch.kubernetes.io/job-completion-index": "0",
        }
        owner = {"kind": "Job", "name": f"{name}-workers-0", "uid": "job", "controller": True}
        pod = {
            "metadata": {
                "name": f"{name}-workers-0-0-x2x4z", "namespace": NAMESPACE, "labels": labels,
                "ownerReferences": [owner], "creationTimestamp": now(), "uid": f"uid-{name}",
            },
            "spec": {"nodeName": node} if node else {},
            "status": status,
        }  # fmt: skip
        self._in_loop(lambda: self.server.put(PODS, pod))

    def wait(self, holds: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """What `holds` returns once it is true. AssertionError with all logs if that takes too long."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, f"{what} did not come within {seconds} s\n{self._logs()}"
            time.sleep(0.1)
        return found

    def _logs(self) -> str:
        return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))

    def _in_loop(self, call: Callable[[], Any]) -> Any:
        """The server's objects belong to its thread."""

        async def called() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(10)

    def stop(self) -> None:
        """Ends all processes, stopped ones too."""
        for process in self.processes.values():
            process.kill()
            process.wait(30)

    async def send_bookmarks(self) -> None:
        while True:
            if self.bookmarks:
                self.server.bookmark(list(self.server.watches))
            await asyncio.sleep(0.2)

    def page(self, address: str, port: int, name: str) -> bytes | None:
        """What is served there; None: nothing yet."""
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{address}:{port}/{name}", timeout=5) as answer,
        ):
            return answer.read()
        return None

    def trains(self, address: str) -> bool:
        """Did the trainer there complete a step?"""
        page = self.page(address, self.trainer_port, "progress")
        return page is not None and (json.loads(page)["step"] or 0) > 0

    def crash(self, name: str) -> int:
        """The process is killed, as by the kernel that needs its memory. Returns its exit code as a kubelet says it."""
        process = self.processes[name]
        process.kill()
        return 128 - process.wait(30)

    def pause(self, name: str) -> None:
        """The process stands still."""
        self.processes[name].send_signal(signal.SIGSTOP)


def _on_node(phase: str, container: Object) -> Object:
    """The status of a pod that has a machine, by what the kubelet says of its container."""
    return {
        "phase": phase,
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}],
        "containerStatuses": [{"name": "trainer", "state": container}],
    }


@contextlib.contextmanager
def faulty_world(folder: Path) -> Iterator[FaultyWorld]:
    """An API server in a thread; operator and trainers are not started yet."""
    loop, server = asyncio.new_event_loop(), StoringApiServer()
    operator_port, trainer_port = free_ports(2, random.Random())
    world = FaultyWorld(folder, server, loop, operator_port, trainer_port)
    started, ended = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with server:
            bookmarks = asyncio.create_task(world.send_bookmarks())
            started.set()
            await ended.wait()
            bookmarks.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait()
    try:
        yield world
    finally:
        world.stop()
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
