"""The operator with a thousand jobs, on fake nodes: `make bench-operator`.

Real: API server, etcd, scheduler, Job and JobSet controllers, and the operator as a process. Played by kwok: nodes and
what runs on them. All of them share this machine, so the table says what each took of it, and how long a bare client
takes for the same writes (`api_floor`).

Needs the cluster of `make cluster`, or LATEEN_TEST_KUBECONFIG; its stage `pod-complete` is taken away meanwhile, for
jobs that train on.
"""

import argparse
import contextlib
import math
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api_floor import BareClient, record
from cluster.find import running_cluster
from e2e_cluster.harness.api import Api, Refused
from e2e_cluster.harness.fixtures import KUBECONFIG, NAMESPACES
from e2e_cluster.harness.kubelet import NODES
from e2e_cluster.harness.operator_process import OperatorProcess
from e2e_cluster.harness.world import job
from lateen_operator.cluster.resources import JOB_SETS, JOBS, PODS, Resource
from lateen_operator.settings import OperatorSettings
from machine import machine

STAGES = Resource("kwok.x-k8s.io", "v1alpha1", "stages")
FAKE = {"kwok.x-k8s.io/node": "fake"}
TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists"}
PARTS = ("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "jobset", "kwok")
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TICKS = os.sysconf("SC_CLK_TCK")
_LONGEST_SECONDS = 900.0
_USERS = 8
"""Connections over which jobs are applied."""


@dataclass(frozen=True)
class Usage:
    """What a process has taken."""

    cpu: float
    """Seconds of a core."""

    memory: float
    """MB, now."""

    peak: float
    """MB, at most."""


def usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    now, peak = (int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, now, peak)


def parts() -> dict[str, float]:
    """Seconds of a core that each of the cluster's parts has taken so far."""
    taken = dict.fromkeys(PARTS, 0.0)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            name = Path((folder / "cmdline").read_text().partition("\0")[0]).name
            if name in taken:
                taken[name] += usage(int(folder.name)).cpu
    return taken


@dataclass
class Bench:
    """One run."""

    api: Api
    namespace: str
    operator: OperatorProcess

    @contextlib.contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Prints the time that something took, and what the operator and the cluster took of the machine."""
        pid = self.operator.process.pid
        before, others, counts = usage(pid), parts(), self.buckets()
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        after = usage(pid)
        shares = {name: (seconds - others[name]) / took * 100 for name, seconds in parts().items()}
        rounds = {edge: number - counts.get(edge, 0) for edge, number in self.buckets().items()}
        share = (after.cpu - before.cpu) / took * 100
        print(f"{what}: {took:.1f} s")
        print(f"  operator: {share:.1f} % of a core, {after.memory:.0f} MB (peak {after.peak:.0f} MB)")
        if rounds.get(math.inf):
            p50, p99 = (quantile(rounds, part) * 1000 for part in (0.5, 0.99))
            print(f"  reconcile: {rounds[math.inf]:.0f} rounds, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        print("  " + ", ".join(f"{name} {share:.0f} %" for name, share in shares.items()), flush=True)

    def buckets(self) -> dict[float, float]:
        """Rounds by upper bound of their seconds, cumulative."""
        found = re.findall(r'reconcile_duration_seconds_bucket\{le="([^"]+)"\} (\S+)', self.operator.metrics())
        return {float(edge): float(number) for edge, number in found}

    def count(self, resource: Resource, **query: str) -> int:
        """Objects of the bench."""
        return count(self.api, resource, self.namespace, **query)

    def states(self) -> dict[str, int]:
        found = re.findall(r'lateen_operator_jobs\{state="([^"]+)"\} (\S+)', self.operator.metrics())
        return {state: int(float(number)) for state, number in found if float(number)}


def wait(what: str, is_there: Callable[[], bool], every: float = 0.5) -> None:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not is_there():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {_LONGEST_SECONDS:.0f} s")
        time.sleep(every)


def count(api: Api, resource: Resource, namespace: str, **query: str) -> int:
    """Objects in a namespace. Only their metadata are sent, for the machine is busy enough."""
    path = resource.path(namespace, query={"resourceVersion": "0", **query})
    return len(api.call("GET", path, accept=METADATA)["items"] or ())


def quantile(cumulative: dict[float, float], part: float) -> float:
    """Upper bound of the bucket that the quantile lies in, interpolated within it."""
    wanted, before, below = cumulative[math.inf] * part, 0.0, 0.0
    for edge in sorted(cumulative):
        if cumulative[edge] >= wanted:
            inside = cumulative[edge] - below
            share = (wanted - below) / inside if inside and math.isfinite(edge) else 0.0
            return before + share * ((edge if math.isfinite(edge) else before) - before)
        before, below = edge, cumulative[edge]
    return before


def node(name: str) -> dict[str, Any]:
    resources = {"cpu": "10000", "memory": "10000Gi", "pods": "1000"}
    return {
        "metadata": {"name": name, "annotations": FAKE, "labels": {"kubernetes.io/hostname": name, **FAKE}},
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": resources, "allocatable": resources},
    }


def fake_job(namespace: str, name: str, hosts: int) -> dict[str, Any]:
    wanted = job(namespace, name, hosts=hosts, minHosts=1, tolerations=[TOLERATION], nodeSelector=FAKE)
    wanted["spec"]["trainer"]["trainBatchSize"] = max(16, 2 * hosts)
    return wanted


def floor(api: Api, namespace: str, jobs: int) -> tuple[float, float]:
    """What a bare client takes for the operator's writes: seconds until all JobSets exist, and until all pods run."""
    with temporary_namespace(api, f"{namespace}-example") as where:
        recorded = record(api, where, lambda namespace, name: fake_job(namespace, name, 4), hosts=4)
    with temporary_namespace(api, f"{namespace}-floor") as where:
        client = BareClient(api, recorded, connections=OperatorSettings().workers)
        wanted = [fake_job(where, f"job-{number}", 4) for number in range(jobs)]
        started = time.monotonic()
        client.create_job_sets(wanted, applying=_USERS)
        until_job_sets = time.monotonic() - started
        client.carry_out(recorded.until_started, where, [job["metadata"]["name"] for job in wanted])
        wait("pods", lambda: count(api, PODS, where, fieldSelector="status.phase=Running") >= 4 * jobs, every=2)
        until_started = time.monotonic() - started
    writes = len(recorded.until_job_set), len(recorded.until_started)
    connections = OperatorSettings().workers
    print(f"{jobs} jobs by a bare client with {connections} connections, {writes[0]} + {writes[1]} writes for each:")
    print(f"  {until_job_sets:.1f} s until all JobSets exist, {until_started:.1f} s until all pods run", flush=True)
    return until_job_sets, until_started


def run(bench: Bench, jobs: int, wide: int, idle: float, floors: tuple[float, float]) -> None:
    api, namespace = bench.api, bench.namespace
    names = [f"job-{number}" for number in range(jobs)]
    began = time.monotonic()
    with ThreadPoolExecutor(_USERS) as pool:
        started = time.monotonic()
        with bench.measured(f"{jobs} jobs of 4 hosts applied at once, until all JobSets exist"):
            list(pool.map(lambda name: api.create(JOBS, fake_job(namespace, name, 4)), names))
            print(f"  (applying alone took {time.monotonic() - started:.1f} s)")
            wait("JobSets", lambda: bench.count(JOB_SETS) >= jobs)
        print(f"  {(time.monotonic() - began) / floors[0]:.2f} of the bare client's time")
        with bench.measured("until all pods run"):
            running = "status.phase=Running"
            wait("pods", lambda: bench.count(PODS, fieldSelector=running) >= 4 * jobs, every=2)
            wait("states", lambda: bench.states().get("Starting", 0) >= jobs, every=1)
        print(f"  {(time.monotonic() - began) / floors[1]:.2f} of the bare client's time, from the first job on")
        time.sleep(10)
        with bench.measured(f"{jobs} jobs at rest"):
            time.sleep(idle)
        failing = min(100, jobs)
        with bench.measured(f"{failing} jobs failing at once, until their next attempts exist"):
            list(pool.map(lambda name: fail(api, namespace, name), names[:failing]))
            wait("restarts", lambda: bench.count(JOB_SETS, labelSelector="lateen.dev/attempt=2") >= failing)
        forgotten = jobs - sum(bench.states().values())
        print(f"  states: {bench.states()}, forgotten: {forgotten}")
        for name in names:
            pool.submit(api.delete, JOBS, namespace, name)
    wait("deletion", lambda: bench.count(PODS) == 0, every=2)
    with bench.measured(f"one job of {wide} hosts, until all its pods run"):
        api.create(JOBS, fake_job(namespace, "wide", wide))
        wait("pods", lambda: bench.count(PODS, fieldSelector="status.phase=Running") >= wide, every=1)
        wait("state", lambda: bench.states() == {"Starting": 1}, every=0.5)
    with bench.measured("the same at rest"):
        time.sleep(idle)


def fail(api: Api, namespace: str, name: str) -> None:
    """A process of the job is killed."""
    pod = api.list(PODS, namespace, labelSelector=f"lateen.dev/job={name}")[0]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    [container] = pod["status"]["containerStatuses"]
    container |= {"ready": False, "state": {"terminated": {"exitCode": 137, "finishedAt": now, "startedAt": now}}}
    status = {"phase": "Failed", "containerStatuses": [container]}
    api.merge(PODS, namespace, pod["metadata"]["name"], {"status": status}, "status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of 4 hosts (1000)")
    parser.add_argument("--wide", type=int, default=2048, help="hosts of the one wide job (2048)")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds at rest (60)")
    options = parser.parse_args()
    print(machine())
    named = os.environ.get(KUBECONFIG)
    running = None if named else running_cluster()
    if named is None and running is None:
        raise SystemExit(f"there is no cluster: start one by `make cluster`, or set {KUBECONFIG}")
    kubeconfig = Path(named) if named else running.kubeconfig  # type: ignore[union-attr]
    api, namespace = Api(kubeconfig), f"bench-{secrets.token_hex(3)}"
    with fleet(api, namespace, pods=max(4 * options.jobs, options.wide)):
        floors = floor(api, namespace, options.jobs)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "operator.log"
            operator = OperatorProcess(kubeconfig, namespace, log)
            try:
                run(Bench(api, namespace, operator), options.jobs, options.wide, options.idle, floors)
            finally:
                operator.close()
                errors = [line for line in log.read_text().splitlines() if " ERROR " in line]
                print("\n".join([f"errors in the operator's log: {len(errors)}", *errors[:5]]))


@contextlib.contextmanager
def fleet(api: Api, namespace: str, pods: int) -> Iterator[None]:
    """Nodes for so many pods, on which nothing ends by itself, and the bench's namespace."""
    nodes = [f"{namespace}-{number}" for number in range(math.ceil(pods / 1000) + 1)]
    stage = None
    with contextlib.suppress(Refused):
        stage = api.call("GET", STAGES.path(name="pod-complete"))
    api.delete(STAGES, None, "pod-complete")
    for name in nodes:
        api.create(NODES, node(name))
    try:
        with temporary_namespace(api, namespace):
            yield
    finally:
        for name in nodes:
            api.delete(NODES, None, name)
        if stage is not None:
            kept = {key: stage["metadata"][key] for key in ("name", "labels") if key in stage["metadata"]}
            api.create(STAGES, {**stage, "metadata": kept})


@contextlib.contextmanager
def temporary_namespace(api: Api, name: str) -> Iterator[str]:
    """Gone, with all that is in it, before what comes next is measured."""
    api.create(NAMESPACES, {"metadata": {"name": name}})
    try:
        yield name
    finally:
        # The jobs first: with a namespace all goes at once, and kwok never says of a pod that it has ended, for which
        # the Job controller would then wait.
        for one in api.list(JOBS, name):
            api.delete(JOBS, name, one["metadata"]["name"])
        wait("deletion", lambda: count(api, PODS, name) == 0, every=2)
        api.delete(NAMESPACES, None, name)


if __name__ == "__main__":
    main()
