"""The commands of the runbooks, on a job that trains. Those that need Kueue are left out."""

import sys
from pathlib import Path

import documented
import pytest
from cluster.cluster import Cluster
from e2e_cluster.conftest import NAMESPACE
from e2e_cluster.pages import Shell, checkout
from e2e_cluster.training import Training

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]

RUNBOOKS = sorted((Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md"))
_KUEUE = "kubectl get workloads"


@pytest.fixture(scope="module")
def shell(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A checkout with `lateen` among its tools."""
    shell = checkout(tmp_path_factory.mktemp("checkout"), cluster)
    lateen = shell.folder / "bin" / "lateen"
    lateen.write_text(f'#!/bin/sh\nexec {sys.executable} -m lateen_api.cli "$@"\n')
    lateen.chmod(0o755)
    return shell


def test_the_commands_of_a_runbook_work_on_a_job_that_trains(train, shell: Shell, cluster: Cluster):
    # Checkpoints that stay: one that is deleted while it is verified would look damaged.
    checkpoints = {"saveInterval": "1h", "keep": [{"every": 1000}]}
    training: Training = train(steps=100_000, compute={"hosts": 1}, checkpoint=checkpoints)
    training.wait_for_steps()
    training.wait_for("a checkpoint", lambda t: any((t.folder / t.name).glob("step-*")), seconds=120)
    [pod] = cluster.kubectl.get("pods", "-n", training.namespace, "-l", f"lateen.dev/job={training.name}")["items"]
    values = {
        "OPERATOR_NAMESPACE": NAMESPACE,
        "SERVICE_ACCOUNT": "lateen",
        "NAMESPACE": training.namespace,
        "JOB": training.name,
        "NODE": pod["spec"]["nodeName"],
        "PATH": str(training.folder / training.name),
        # One host and one attempt are enough.
        "--process 3": "--process 0",
        "--attempt 2": "--attempt 1",
    }
    for page in RUNBOOKS:
        for command in documented.commands(page):
            if not command.text.startswith(_KUEUE):
                # What is filtered need not be there on a job that is well.
                text, _, _ = command.text.partition(" | ")
                for placeholder, value in values.items():
                    text = text.replace(placeholder, value)
                shell(text)
