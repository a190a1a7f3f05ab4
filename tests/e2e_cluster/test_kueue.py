"""Jobs in queues of a real Kueue: they wait, are preempted and go on, with the manifests of docs/kueue.md."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import kueue
from cluster.cluster import Cluster
from cluster.this_machine import OnThisMachine
from documented import examples
from e2e_cluster.training import Training

PAGE = Path(__file__).parents[2] / "docs" / "kueue.md"
QUEUE = "research"
CLUSTER_QUEUE = "training"
STEPS = 800
SAID_WITHIN_SECONDS = 60
PENDING = "Pending: couldn't assign flavors to pod set workers: insufficient unused quota for cpu in flavor machines"

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def queues(cluster: Cluster) -> Iterator[list[dict[str, Any]]]:
    """Kueue, with the page's ClusterQueue. Yields what the page has per namespace."""
    if not isinstance(cluster, OnThisMachine):
        pytest.skip("Kueue is installed on the cluster without Docker only")
    kueue.remove(cluster.kubectl)
    kueue.install(cluster.kubectl)
    manifests = [of for of in examples(PAGE) if isinstance(of, dict) and "kind" in of]
    local = [of for of in manifests if of["kind"] == "LocalQueue"]
    shared = [of for of in manifests if of not in local]
    cluster.kubectl.apply(*shared)
    yield local
    classes = [of["metadata"]["name"] for of in shared if of["kind"] == "PriorityClass"]
    cluster.kubectl("delete", "priorityclass", *classes)
    kueue.remove(cluster.kubectl)


@pytest.fixture
def queued(cluster: Cluster, train, namespace: str, queues: list[dict[str, Any]]) -> Callable[..., Training]:
    """Applies a job that is in the page's queue: `queued("name", hosts=…)`."""
    cluster.kubectl.apply(*({**of, "metadata": {**of["metadata"], "namespace": namespace}} for of in queues))

    def start(name: str, *, hosts: int = 2, queue: str = QUEUE, steps: int = STEPS, **compute: Any) -> Training:
        # The quota of the page is of CPUs and memory alone.
        fields = {"hosts": hosts, "queue": queue, "podTemplate": {}, **compute}
        return train(name, steps=steps, compute=fields)

    return start


def condition(training: Training) -> tuple[str, str, str]:
    """Status, reason and message of the condition Queued."""
    found = next((of for of in training.status.get("conditions", []) if of["type"] == "Queued"), {})
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def wait_for_reason(training: Training, reason: str, words: str) -> float:
    """Returns when the condition Queued has this reason and these words: the seconds that it took."""
    since = time.monotonic()
    training.wait_for(
        f"Queued for {reason}",
        lambda t: condition(t)[:2] == ("True", reason) and words in condition(t)[2],
        seconds=SAID_WITHIN_SECONDS,
    )
    return time.monotonic() - since


def workloads(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    return cluster.kubectl.get("workloads", "-n", namespace)["items"]


def test_the_second_job_waits_for_the_quota_and_says_so_in_the_words_of_kueue(queued, cluster):
    first = queued("first")
    first.wait_for_steps(10)
    second = queued("second", steps=50)
    wait_for_reason(second, "WaitingForAdmission", PENDING)
    assert f"Kueue has not admitted it to queue {QUEUE}: " in condition(second)[2]
    shown = 'jsonpath={.status.conditions[?(@.type=="Queued")].message}'
    assert PENDING in cluster.kubectl("get", "lmtj", second.name, "-n", second.namespace, "-o", shown)
    assert (second.status["state"], len(second.ledger)) == ("Queued", 1)
    first.finish(seconds=400)
    second.finish(seconds=400)
    status = second.status
    assert [entry["failureClass"] for entry in second.ledger] == ["Done"]
    # It waited for longer than it trained, and that is no loss.
    assert status["time"]["queued"] > status["time"]["training"]
    useful = status["time"]["training"] + status["time"]["evaluating"]
    held = sum(status["time"].values()) - sum(
        status["time"][part] for part in ("queued", "waitingForMachines", "suspended")
    )
    assert status["goodput"] == pytest.approx(useful / held, abs=0.01)


def test_a_job_of_a_higher_priority_preempts_one_which_then_goes_on_to_the_same_losses(queued, cluster):
    low = queued("low", priorityClass="training-low")
    low.wait_for_steps(20)
    high = queued("high", priorityClass="training-high")
    low.wait_for("its second attempt", lambda t: len(t.ledger) == 2, seconds=90)
    ended = low.ledger[0]
    assert (ended["failureClass"], ended["reason"]) == ("Planned", "SuspendedByQueue")
    assert "after it had saved its state. The queue says: Preempted: Preempted to accommodate" in ended["message"]
    assert (ended["stepsLost"], ended["checkpointStep"]) == (0, ended["step"])
    wait_for_reason(low, "WaitingForAdmission", "Pending: ")
    high.finish(seconds=400)
    low.finish(seconds=400)
    assert [entry["reason"] for entry in low.ledger] == ["SuspendedByQueue", "Done"]
    assert low.ledger[1]["firstStep"] == ended["step"]
    assert low.status["budgets"] == {"preemptions": 1, "infrastructureFailures": 0, "failures": 0}
    # The two jobs are the same but for their priority, and nothing happened to this one.
    assert [entry["reason"] for entry in high.ledger] == ["Done"]
    assert low.losses() == high.losses()
    # Waiting for the other one to end is the longest part, and is no loss.
    assert low.status["time"]["queued"] > high.status["time"]["training"]


def test_a_job_that_is_preempted_while_it_starts_is_queued_again(queued, cluster, namespace):
    low = queued("low", priorityClass="training-low", steps=50)

    def starts(_: Training) -> bool:
        pods = cluster.kubectl.get("pods", "-n", namespace, "-l", "lateen.dev/job=low")["items"]
        return len(pods) == 2 and all(pod["status"].get("phase") == "Running" for pod in pods)

    low.wait_for("its pods", starts, seconds=90)
    high = queued("high", priorityClass="training-high", steps=50)
    low.wait_for("its second attempt", lambda t: len(t.ledger) == 2, seconds=90)
    assert (low.ledger[0]["failureClass"], low.ledger[0]["reason"]) == ("Planned", "SuspendedByQueue")
    assert "The queue says: Preempted: " in low.ledger[0]["message"]
    high.finish(seconds=400)
    low.finish(seconds=400)
    assert [entry["reason"] for entry in low.ledger] == ["SuspendedByQueue", "Done"]
    assert low.losses() == high.losses()


def test_a_queue_that_does_not_exist_is_said_and_costs_nothing(queued, cluster, namespace):
    training = queued("nobody", queue="later", steps=50)
    took = wait_for_reason(
        training,
        "QueueInadmissible",
        "Inadmissible: LocalQueue later doesn't exist. Create the LocalQueue in the job's namespace, or correct "
        "spec.compute.queue.",
    )
    print(f"said after {took:.1f} s")
    queue = {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "LocalQueue",
        "metadata": {"name": "later", "namespace": namespace},
        "spec": {"clusterQueue": CLUSTER_QUEUE},
    }
    cluster.kubectl.apply(queue)
    training.finish(seconds=400)
    assert [entry["reason"] for entry in training.ledger] == ["Done"]


def test_a_stopped_cluster_queue_is_said_and_its_jobs_go_on_when_it_is_resumed(queued, cluster):
    stop = json.dumps({"spec": {"stopPolicy": "HoldAndDrain"}})
    go_on = json.dumps({"spec": {"stopPolicy": "None"}})
    training = queued("drained")
    training.wait_for_steps(20)
    cluster.kubectl("patch", "clusterqueue", CLUSTER_QUEUE, "--type=merge", f"--patch={stop}")
    try:
        training.wait_for("its second attempt", lambda t: len(t.ledger) == 2, seconds=90)
        wait_for_reason(training, "QueueInadmissible", f"ClusterQueue {CLUSTER_QUEUE} is inactive")
    finally:
        cluster.kubectl("patch", "clusterqueue", CLUSTER_QUEUE, "--type=merge", f"--patch={go_on}")
    training.finish(seconds=400)
    assert [entry["reason"] for entry in training.ledger] == ["SuspendedByQueue", "Done"]
    assert "The queue says: ClusterQueueStopped" in training.ledger[0]["message"]


def test_a_suspended_job_gives_its_quota_back_and_kueue_does_not_resume_it(queued, cluster, namespace):
    training = queued("paused")
    training.wait_for_steps(20)
    training.patch({"suspend": True})
    training.wait_for_state("Suspended", seconds=60)
    training.wait_for("the quota", lambda t: not workloads(cluster, namespace), seconds=60)
    other = queued("other", steps=50)
    other.finish(seconds=400)
    assert (training.status["state"], len(training.ledger)) == ("Suspended", 1)
    training.patch({"suspend": False})
    training.finish(seconds=400)
    assert [entry["reason"] for entry in training.ledger] == ["Stopped", "Done"]
