"""A job's life in the real cluster apart from faults: refused, complete, expired, deleted."""

import subprocess
import sys

import pytest
from e2e_cluster.conftest import NAMESPACE
from e2e_cluster.training import Training

LONG_ENOUGH = 3000
"""Steps of a job on one host, for something to happen to it: a fast machine makes 300 a second."""

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]


def children(training: Training) -> list[str]:
    """Names of all that the operator made for the job."""
    kinds = "jobset,configmap,networkpolicy,pod"
    found = training.cluster.kubectl.get(kinds, "-n", training.namespace, "-l", f"lateen.dev/job={training.name}")
    return [f"{item['kind']}/{item['metadata']['name']}" for item in found["items"]]


def condition(training: Training, kind: str) -> dict:
    """A condition of the status."""
    return next((c for c in training.status.get("conditions", []) if c["type"] == kind), {})


def test_what_the_schema_cannot_see_is_refused_in_a_condition_and_nothing_is_created(train):
    training = train(compute={"devicesPerHost": 3})
    training.wait_for_state("Refused", seconds=30)
    accepted = condition(training, "Accepted")
    assert accepted["status"] == "False"
    assert "a power of two of devices along the data axis, not 6" in accepted["message"]
    assert children(training) == []
    training.patch({"compute": {"devicesPerHost": 1}})
    training.wait_for("acceptance", lambda t: condition(t, "Accepted").get("status") == "True", seconds=30)


def test_a_short_job_from_apply_to_its_columns_commands_and_expiry(train, cluster):
    training = train(steps=LONG_ENOUGH, compute={"hosts": 1})
    training.finish()
    row = cluster.kubectl("get", "lmtj", training.name, "-n", training.namespace, "--no-headers").split()
    assert row[:3] == [training.name, "Complete", str(LONG_ENOUGH)]
    assert 0 < float(row[3]) < 6
    assert row[5] == "1"
    assert cluster.kubectl("get", "lmtj", "-n", training.namespace).split()[:8] == [
        "NAME", "STATE", "STEP", "LOSS", "HOSTS", "ATTEMPTS", "ETA", "AGE",
    ]  # fmt: skip
    assert "Complete" in lateen(training, "status", training.name)
    assert "step" in lateen(training, "logs", training.name)
    training.patch({"ttlAfterFinished": "1s"})
    training.wait_for(
        "deletion",
        lambda t: not cluster.kubectl.get("lmtj", "-n", t.namespace)["items"] and children(t) == [],
        seconds=60,
    )
    assert (training.folder / training.name / "metrics.jsonl").exists()


def test_stop_and_resume_by_the_command_line(train):
    training = train(compute={"hosts": 1}, steps=LONG_ENOUGH)
    training.wait_for_steps()
    lateen(training, "stop", training.name)
    assert training.status["state"] == "Suspended"
    lateen(training, "resume", training.name)
    training.finish()


def test_a_job_can_be_deleted_while_the_operator_is_down(train, cluster):
    training = train(compute={"hosts": 1}, steps=100_000)
    training.wait_for_steps()
    cluster.kubectl("scale", "deployment", "-n", NAMESPACE, "--all", "--replicas=0")
    try:
        cluster.kubectl("delete", "lmtj", training.name, "-n", training.namespace, timeout=60)
        training.wait_for("deletion of the children", lambda t: children(t) == [], seconds=90)
    finally:
        cluster.kubectl("scale", "deployment", "-n", NAMESPACE, "--all", "--replicas=1")
        cluster.kubectl("rollout", "status", "deployment", "-n", NAMESPACE, "--timeout=120s", timeout=130)


def lateen(training: Training, *arguments: str) -> str:
    """What `lateen …` prints."""
    where = ["-n", training.namespace, "--kubeconfig", str(training.cluster.kubeconfig)]
    done = subprocess.run(
        [sys.executable, "-m", "lateen_api.cli", *arguments, *where], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
