"""A job on two real nodes goes on by itself whatever happens to it, and its losses are those of an undisturbed run.

Each takes half a minute to three, most of it imports and compilation in pods; nothing smaller shows that operator,
JobSet, kubelets, network and trainer hold together.
"""

import json
from collections.abc import Callable

import pytest
from cluster.fixtures import own_namespace
from e2e_cluster.training import SLOT, Training

ENDLESS = 1_000_000
"""Steps."""

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def undisturbed(cluster, operator) -> dict[int, float]:
    """Losses of the job at two hosts when nothing happens."""
    with own_namespace(cluster) as namespace:
        training = Training.apply(cluster, namespace, cluster.shared_folder(namespace), "small")
        training.finish()
        assert [entry["failureClass"] for entry in training.ledger] == ["Done"]
        return training.losses()


def check(training: Training, undisturbed: dict[int, float], *reasons: str) -> None:
    """The job completes, its ledger names these causes, and its losses are the undisturbed ones to the bit."""
    training.finish()
    check_ledger(training, *reasons, "Done")
    assert training.losses() == undisturbed


def check_cut_off(training: Training, train: Callable[..., Training], *reasons: str) -> None:
    """As `check`, for an endless job, which is longer than whatever happens to it takes: it is cut off, and compared
    as far as it came with one on a single host."""
    training.patch({"suspend": True})
    training.wait_for_state("Suspended")
    check_ledger(training, *reasons, "Stopped")
    losses = training.losses()
    assert sorted(losses) == list(range(1, len(losses) + 1))
    alone = train("alone", compute={"hosts": 1}, steps=ENDLESS)
    alone.wait_for(f"step {len(losses)}", lambda t: len(t.losses()) >= len(losses), seconds=240)
    found = alone.losses()
    assert {step: found[step] for step in losses} == losses


def check_ledger(training: Training, *reasons: str) -> None:
    """It names these causes, and for all but the last the seconds to the next step."""
    assert [entry["reason"] for entry in training.ledger] == list(reasons)
    seconds = [entry.get("secondsToNextStep") for entry in training.ledger[:-1]]
    print(f"{', '.join(reasons[:-1])}: {seconds} s to the next step")
    assert None not in seconds


def test_a_deleted_pod(train, undisturbed):
    training = train()
    training.wait_for_steps()
    pod = training.pod(1)["metadata"]["name"]
    training.cluster.kubectl("delete", "pod", pod, "-n", training.namespace, "--wait=false")
    check(training, undisturbed, "PodDeleted")


def test_an_evicted_pod(train, undisturbed):
    training = train()
    training.wait_for_steps()
    pod = training.pod(1)["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": training.namespace},
    }
    path = f"/api/v1/namespaces/{training.namespace}/pods/{pod}/eviction"
    training.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    check(training, undisturbed, "EvictionByEvictionAPI")


def test_a_drained_node(train, undisturbed):
    training = train()
    training.wait_for_steps()
    node = training.pod(1)["spec"]["nodeName"]
    try:
        training.cluster.kubectl(
            "drain", node, "--ignore-daemonsets", "--force", "--delete-emptydir-data",
            f"--pod-selector=lateen.dev/job={training.name}",
        )  # fmt: skip
    finally:
        training.cluster.kubectl("uncordon", node)
    check(training, undisturbed, "EvictionByEvictionAPI")


def test_suspending_and_resuming(train, undisturbed):
    training = train()
    training.wait_for_steps()
    training.patch({"suspend": True})
    training.wait_for_state("Suspended")
    assert training.ledger[-1]["stepsLost"] == 0
    running = training.cluster.kubectl.get("pods", "-n", training.namespace, "--field-selector=status.phase=Running")
    assert running["items"] == []
    training.patch({"suspend": False})
    check(training, undisturbed, "Stopped")


def test_resizing_down_and_up(train):
    training = train(steps=ENDLESS)
    training.wait_for_steps()
    training.patch({"compute": {"hosts": 1}})
    training.wait_for_steps(attempt=2)
    assert training.status["hosts"] == 1
    training.patch({"compute": {"hosts": 2}})
    training.wait_for_steps(attempt=3)
    check_cut_off(training, train, "Resized", "Resized")
    assert [entry["hosts"] for entry in training.ledger] == [2, 1, 2]


def test_a_killed_node_and_its_return(train, cluster):
    """The job trains on what is left while the node is away, and at its old width when it is back."""
    training = train(compute={"minHosts": 1, "resizeAfter": "5s"}, steps=ENDLESS)
    training.wait_for_steps()
    node = training.pod(1)["spec"]["nodeName"]
    cluster.kill_node(node)
    try:
        training.wait_for("one host", lambda t: t.status.get("hosts") == 1, seconds=180)
        training.wait_for_steps(1, attempt=len(training.ledger))
    finally:
        cluster.start_node(node)
    # A kubelet that restarts forgets what it does not know the use of.
    cluster.set_capacity(node, SLOT, 1)
    training.wait_for_steps(attempt=4, seconds=180)
    check_cut_off(training, train, "NodeLost", "CapacityAway", "CapacityBack")
    assert [entry["hosts"] for entry in training.ledger] == [2, 2, 1, 2]
    assert training.ledger[0]["node"] == node
