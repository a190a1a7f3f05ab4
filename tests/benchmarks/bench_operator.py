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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from api_floor import BareClient, record
from api_requests import per_job, requests
from cluster.find import running_cluster
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.fixtures import KUBECONFIG
from e2e_cluster.harness.operator_process import OperatorProcess
from fake_fleet import count, fake_job, fleet, looks_every, temporary_namespace, wait
from lateen_operator.cluster.resources import JOB_SETS, JOBS, PODS, Resource
from lateen_operator.settings import OperatorSettings
from machine import machine

PARTS = ("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "jobset", "kwok")
_TICKS = os.sysconf("SC_CLK_TCK")
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
    taken: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            name = Path((folder / "cmdline").read_text().partition("\0")[0]).name
            if name in taken:
                taken[name] += usage(int(folder.name)).cpu
    return taken


def since(before: dict[str, float]) -> dict[str, float]:
    """Seconds of a core that each of the cluster's parts has taken since then."""
    return {name: seconds - before[name] for name, seconds in parts().items()}


@dataclass
class Bench:
    """One run."""

    api: Api
    namespace: str
    operator: OperatorProcess

    @contextlib.contextmanager
    def measured(self, what: str, jobs: int = 0) -> Iterator[None]:
        """Prints the time that something took, what the operator and the cluster took of the machine, and what the API
        server was asked for, for each of so many jobs."""
        pid = self.operator.process.pid
        asked = requests(self.api) if jobs else None
        before, others, counts = usage(pid), parts(), self.buckets()
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        after = usage(pid)
        shares = {name: seconds / took * 100 for name, seconds in since(others).items()}
        rounds = {edge: number - counts.get(edge, 0) for edge, number in self.buckets().items()}
        share = (after.cpu - before.cpu) / took * 100
        print(f"{what}: {took:.1f} s")
        print(f"  operator: {share:.1f} % of a core, {after.memory:.0f} MB (peak {after.peak:.0f} MB)")
        if rounds.get(math.inf):
            p50, p99 = (quantile(rounds, part) * 1000 for part in (0.5, 0.99))
            print(f"  reconcile: {rounds[math.inf]:.0f} rounds, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        print("  " + ", ".join(f"{name} {share:.0f} %" for name, share in shares.items()), flush=True)
        if asked is not None:
            print(f"  requests per job: {per_job(asked, requests(self.api), jobs)}", flush=True)

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


@dataclass(frozen=True)
class Cost:
    """What it took until jobs run. The seconds of a core say more than times where others use the machine, too."""

    until_job_sets: float
    """Seconds until all JobSets exist."""

    until_started: float
    """Seconds until all pods run."""

    cpu: dict[str, float]
    """Seconds of a core until all pods run, by program."""

    def __str__(self) -> str:
        return "seconds of a core: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.cpu.items())


def floor(api: Api, namespace: str, jobs: int) -> Cost:
    """What a bare client takes for the operator's writes."""
    with temporary_namespace(api, f"{namespace}-example") as where:
        recorded = record(api, where, lambda namespace, name: fake_job(namespace, name, 4), hosts=4)
    with temporary_namespace(api, f"{namespace}-floor") as where:
        client = BareClient(api, recorded, connections=OperatorSettings().workers)
        wanted = [fake_job(where, f"job-{number}", 4) for number in range(jobs)]
        before, own = parts(), usage(os.getpid()).cpu
        started = time.monotonic()
        client.create_job_sets(wanted, applying=_USERS)
        until_job_sets = time.monotonic() - started
        client.carry_out(recorded.until_started, where, [job["metadata"]["name"] for job in wanted])
        running = "status.phase=Running"
        wait("pods", lambda: count(api, PODS, where, fieldSelector=running) >= 4 * jobs, looks_every(jobs))
        until_started = time.monotonic() - started
        cpu = {"client and bench": usage(os.getpid()).cpu - own, **since(before)}
    cost = Cost(until_job_sets, until_started, cpu)
    writes = len(recorded.until_job_set), len(recorded.until_started)
    connections = OperatorSettings().workers
    print(f"{jobs} jobs by a bare client with {connections} connections, {writes[0]} + {writes[1]} writes for each:")
    print(f"  {until_job_sets:.1f} s until all JobSets exist, {until_started:.1f} s until all pods run")
    print(f"  {cost}", flush=True)
    return cost


def run(bench: Bench, jobs: int, wide: int, idle: float, bare: Cost) -> None:
    api, namespace, every = bench.api, bench.namespace, looks_every(jobs)
    names = [f"job-{number}" for number in range(jobs)]
    with ThreadPoolExecutor(_USERS) as pool:
        with bench.measured(f"{jobs} jobs of 4 hosts applied at once, until all JobSets exist", jobs):
            before, own = parts(), (usage(os.getpid()).cpu, usage(bench.operator.process.pid).cpu)
            started = time.monotonic()
            list(pool.map(lambda name: api.create(JOBS, fake_job(namespace, name, 4)), names))
            print(f"  (applying alone took {time.monotonic() - started:.1f} s)")
            wait("JobSets", lambda: bench.count(JOB_SETS) >= jobs, every)
            until_job_sets = time.monotonic() - started
        print(f"  {until_job_sets / bare.until_job_sets:.2f} of the bare client's time")
        with bench.measured("until all pods run", jobs):
            running = "status.phase=Running"
            wait("pods", lambda: bench.count(PODS, fieldSelector=running) >= 4 * jobs, every)
            wait("states", lambda: bench.states().get("Starting", 0) >= jobs, every)
            until_started = time.monotonic() - started
            taken = [
                usage(pid).cpu - cpu for pid, cpu in zip((os.getpid(), bench.operator.process.pid), own, strict=True)
            ]
            cost = Cost(until_job_sets, until_started, {"bench": taken[0], "operator": taken[1], **since(before)})
        ratio = until_started / bare.until_started
        print(f"  {ratio:.2f} of the bare client's time; {until_started:.1f} s since the first job")
        print(f"  {cost}", flush=True)
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
        bare = floor(api, namespace, options.jobs)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "operator.log"
            operator = OperatorProcess(kubeconfig, namespace, log, own_session=True)
            try:
                run(Bench(api, namespace, operator), options.jobs, options.wide, options.idle, bare)
            finally:
                operator.close()
                errors = [line for line in log.read_text().splitlines() if " ERROR " in line]
                print("\n".join([f"errors in the operator's log: {len(errors)}", *errors[:5]]))


if __name__ == "__main__":
    main()
