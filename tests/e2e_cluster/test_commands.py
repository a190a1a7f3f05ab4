"""`lateen status`, `logs`, `stop` and `resume` before a real API server. No operator runs: statuses are written here.

With an operator they are used in the tests of a job's life.
"""

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.cluster import Cluster
from lateen_operator.manifests.job_set import job_set
from stored_jobs import NANO, attempt, body

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NOW = "2030-01-31T12:00:00Z"
BUSYBOX = "localhost/lateen-busybox:dev"


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[str]:
    """A namespace with the job `nano` and somebody who may do nothing."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("create", "serviceaccount", "nobody", "-n", name)
    stored = {**body(NANO), "metadata": {"name": "nano", "namespace": name}}
    cluster.kubectl.apply(stored)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def lateen(cluster: Cluster, place: str, *arguments: object, kubeconfig: Path | None = None) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)"""
    command = [sys.executable, "-m", "lateen_api.cli", *map(str, arguments)]
    where = ["-n", place, "--kubeconfig", str(kubeconfig or cluster.kubeconfig)]
    done = subprocess.run([*command, *where], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def write_status(cluster: Cluster, place: str, condition: str, **status: Any) -> None:
    """What the operator would write."""
    holding = {"type": condition, "status": "True", "reason": "R", "message": "m", "lastTransitionTime": NOW}
    patch = json.dumps({"status": {"conditions": [holding], **status}})
    cluster.kubectl("patch", "lmtj", "nano", "-n", place, "--subresource=status", "--type=merge", f"--patch={patch}")


def test_status_of_a_job(cluster: Cluster, place: str):
    progress = {"step": 280, "of": 560, "percent": 50, "loss": 2.5}
    write_status(cluster, place, "Running", state="Training", progress=progress)
    code, page, _ = lateen(cluster, place, "status", "nano")
    assert (code, page.split()[:3]) == (0, ["nano", place, "Training"])
    assert "50 %  step 280 of 560" in page
    code, text, _ = lateen(cluster, place, "status", "nano", "-o", "json")
    assert json.loads(text)["status"]["progress"] == progress


def test_the_report_of_a_job_in_the_cluster(cluster: Cluster, place: str, tmp_path: Path):
    """`kubectl get lmtj nano -o json > job.json`, and the folder of its checkpoints."""
    entry = {"number": 1, "hosts": 2, "started": NOW, "ended": NOW, "failureClass": "Planned", "message": "preempted"}
    write_status(cluster, place, "Queued", state="Queued", attempts=[entry])
    (tmp_path / "job.json").write_text(cluster.kubectl("get", "lmtj", "nano", "-n", place, "-o", "json"))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "attempt": 1, "loss": 2.5}\n')
    command = [sys.executable, "-m", "lateen_api.cli", "report", tmp_path]
    options = ["--job", tmp_path / "job.json", "--out", tmp_path / "nano.html"]
    subprocess.run([*command, *options], check=True, timeout=60)
    page = (tmp_path / "nano.html").read_text()
    assert all(text in page for text in ("<title>nano", "Queued</span>", ">Planned</td>", ">preempted</td>", "1 of "))


def test_no_such_job(cluster: Cluster, place: str):
    assert lateen(cluster, place, "status", "nanno") == (
        40, "", f"There is no job nanno in the namespace {place}. Did you mean nano?\n",
    )  # fmt: skip


def test_no_job_in_the_namespace(cluster: Cluster, place: str):
    code, _, said = lateen(cluster, "default", "stop", "nano")
    assert code == 40
    assert said.startswith("There is no job nano in the namespace default.")


def test_no_rights(cluster: Cluster, place: str, tmp_path: Path):
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", "nobody", "-n", place).strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    assert lateen(cluster, place, "resume", "nano", kubeconfig=path) == (
        1,
        "",
        f'You may not read the job nano in the namespace {place}: lmtrainingjobs.lateen.dev "nano" is forbidden: User '
        f'"system:serviceaccount:{place}:nobody" cannot get resource "lmtrainingjobs" in API group "lateen.dev" in the '
        f'namespace "{place}". Ask an administrator of the cluster for the right to.\n',
    )


def test_stop_and_resume(cluster: Cluster, place: str):
    write_status(cluster, place, "Running", state="Training")
    operator = threading.Timer(2.0, write_status, (cluster, place, "Suspended"), {"state": "Suspended"})
    operator.start()
    code, _, said = lateen(cluster, place, "stop", "nano")
    operator.join()
    assert (code, said) == (0, "nano has stopped. `lateen resume nano` goes on.\n")
    assert cluster.kubectl.get("lmtj", "nano", "-n", place)["spec"]["suspend"] is True
    code, _, said = lateen(cluster, place, "resume", "nano")
    assert code == 0
    assert cluster.kubectl.get("lmtj", "nano", "-n", place)["spec"]["suspend"] is False


def test_logs_of_the_pods_of_a_job_set(cluster: Cluster, place: str):
    """The manifest is the operator's but for the program, which says what a trainer would be told."""
    owner = cluster.kubectl.get("lmtj", "nano", "-n", place)["metadata"]
    manifest = job_set(attempt(NANO, "compute.cpu=null", "compute.memory=null", f"compute.image={BUSYBOX}"))
    manifest["metadata"]["namespace"] = place
    manifest["metadata"]["ownerReferences"][0]["uid"] = owner["uid"]
    pod = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    pod["containers"][0]["command"] = ["sh", "-c", "echo process $LATEEN_HOST_INDEX of slice $LATEEN_SLICE_INDEX"]
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "shared"]
    pod["containers"][0]["volumeMounts"] = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] != "shared"]
    job = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nano-a1", "namespace": place}}
    cluster.kubectl.apply({**job, "data": {"job.json": "{}"}}, manifest)
    write_status(cluster, place, "Running", state="Starting", attemptCount=1)
    cluster.kubectl("wait", "jobset", "nano-a1", "-n", place, "--for=condition=Completed", "--timeout=60s", timeout=70)
    assert lateen(cluster, place, "logs", "nano") == (0, "process 0 of slice 0\n", "")
    assert lateen(cluster, place, "logs", "nano", "--process", 1)[1] == "process 1 of slice 0\n"
    assert lateen(cluster, place, "logs", "nano", "--process", 2)[2] == (
        "Attempt 1 has no process 2: expected 0 to 1.\n"
    )
