"""What may happen to a job, and what its ledger may then say.

Most faults have one cause only. Where more are right, the table says why.
"""

import json
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.cluster import Cluster
from e2e_cluster.chaos.trainers import signal_trainer
from e2e_cluster.harness.api import Api
from e2e_cluster.training import SLOT, Training
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, NETWORK_POLICIES

HEARTBEAT_SECONDS = 5.0
"""Of the job (`recovery.heartbeatTimeout`): who is silent for longer is lost."""


@dataclass(frozen=True)
class Hit:
    """The process at which a fault is aimed."""

    process: int
    node: str


@dataclass
class Scene:
    """A job that trains."""

    training: Training
    api: Api
    dice: random.Random
    hosts: int = 2
    """That the job asks for."""

    undone: list[Callable[[], None]] = field(default_factory=list)
    """What has to be put right once the attempt has ended, as a node that is off."""

    @property
    def cluster(self) -> Cluster:
        return self.training.cluster

    @property
    def namespace(self) -> str:
        return self.training.namespace

    @property
    def attempt(self) -> str:
        """Name of the objects of the present attempt."""
        return f"{self.training.name}-a{self.training.ledger[-1]['number']}"

    def any_pod(self) -> tuple[Hit, str, str]:
        """A process of the present attempt, and name and uid of its pod."""
        process = self.dice.randrange(self.hosts)
        pod = self.training.pod(process)
        return Hit(process, pod["spec"]["nodeName"]), pod["metadata"]["name"], pod["metadata"]["uid"]


@dataclass(frozen=True)
class Fault:
    """Something that happens to a job."""

    strike: Callable[[Scene], Hit | None]
    failure_class: str | None
    """`failureClass` of the attempt that it ends; None: it ends none."""

    reasons: frozenset[str] = frozenset()
    """`reason` of that attempt, when the operator sees it happen."""

    unseen: frozenset[str] = frozenset()
    """Further ones, when it does not."""


def _signal(number: signal.Signals) -> Callable[[Scene], Hit]:
    def strike(scene: Scene) -> Hit:
        hit, _, uid = scene.any_pod()
        assert signal_trainer(uid, number), f"process {hit.process} does not run"
        return hit

    return strike


def _pause(seconds: float) -> Callable[[Scene], Hit]:
    def strike(scene: Scene) -> Hit:
        hit, _, uid = scene.any_pod()
        assert signal_trainer(uid, signal.SIGSTOP), f"process {hit.process} does not run"
        time.sleep(seconds)
        signal_trainer(uid, signal.SIGCONT)
        return hit

    return strike


def _delete_pod(*options: str) -> Callable[[Scene], Hit]:
    def strike(scene: Scene) -> Hit:
        hit, name, _ = scene.any_pod()
        scene.cluster.kubectl("delete", "pod", name, "-n", scene.namespace, "--wait=false", *options)
        return hit

    return strike


def _evict(scene: Scene) -> Hit:
    hit, name, _ = scene.any_pod()
    metadata = {"name": name, "namespace": scene.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{scene.namespace}/pods/{name}/eviction"
    scene.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    return hit


def _kill_node(scene: Scene) -> Hit:
    """It comes back at once, as after a reboot, or when its pods have been given up."""
    hit, _, _ = scene.any_pod()

    def come_back() -> None:
        scene.cluster.start_node(hit.node)
        # A kubelet that restarts forgets what it does not know the use of.
        scene.cluster.set_capacity(hit.node, SLOT, 1)

    scene.cluster.kill_node(hit.node)
    if scene.dice.random() < 0.5:
        come_back()
    else:
        scene.undone.append(come_back)
    return hit


def _delete_job_set(scene: Scene) -> None:
    scene.api.delete(JOB_SETS, scene.namespace, scene.attempt, propagationPolicy="Background")


def _suspend_job_set(scene: Scene) -> None:
    scene.api.merge(JOB_SETS, scene.namespace, scene.attempt, {"spec": {"suspend": True}})


def _delete_config_map(scene: Scene) -> None:
    scene.api.delete(CONFIG_MAPS, scene.namespace, scene.attempt)


def _delete_network_policy(scene: Scene) -> None:
    scene.api.delete(NETWORK_POLICIES, scene.namespace, f"{scene.training.name}-network")


def _wipe_status(scene: Scene) -> None:
    patch = {"status": dict.fromkeys(scene.training.status)}
    scene.api.merge(JOBS, scene.namespace, scene.training.name, patch, "status")


def _suspend(scene: Scene) -> None:
    scene.training.patch({"suspend": True})

    def resume() -> None:
        # It may complete before it hears of the suspension.
        scene.training.wait_for("a rest", lambda t: t.status.get("state") in ("Suspended", "Complete"))
        scene.training.patch({"suspend": False})

    scene.undone.append(resume)


def _resize(scene: Scene) -> None:
    scene.hosts = 3 - scene.hosts
    scene.training.patch({"compute": {"hosts": scene.hosts}})


def _nothing(scene: Scene) -> None:
    """Only the operator has trouble."""


FAULTS: dict[str, Fault] = {
    "SIGKILL": Fault(_signal(signal.SIGKILL), "Infrastructure", frozenset({"SIGKILL"})),
    "SIGTERM": Fault(_signal(signal.SIGTERM), "Planned", frozenset({"Saved"})),
    # When it was deleted is overwritten once it has ended. An operator that finds it so knows only that it saved.
    "pod deleted": Fault(_delete_pod(), "Planned", frozenset({"PodDeleted"}), unseen=frozenset({"Saved"})),
    "pod forced out": Fault(_delete_pod("--grace-period=0", "--force"), "Planned", frozenset({"PodDeleted"})),
    # The reason stands on the pod, and goes with it.
    "pod evicted": Fault(_evict, "Planned", frozenset({"EvictionByEvictionAPI"}), unseen=frozenset({"PodDeleted"})),
    # A kubelet that restarts in time finds the container dead, and says so in one of several ways; by then the
    # peer has reported whom it lost.
    "node killed": Fault(
        _kill_node,
        "Infrastructure",
        frozenset({"NodeLost", "LostPeer", "ContainerStatusUnknown", "SIGKILL", "Exit255"}),
    ),
    # Its pods are deleted at once or, where nobody saw them again, are gone at once.
    "JobSet deleted": Fault(_delete_job_set, "Planned", frozenset({"PodDeleted", "Deleted"})),
    "JobSet suspended": Fault(_suspend_job_set, "Requested", frozenset({"JobSetSuspended"})),
    "suspended and resumed": Fault(_suspend, "Requested", frozenset({"Stopped"})),
    "resized": Fault(_resize, "Requested", frozenset({"Resized"})),
    "frozen for long": Fault(_pause(HEARTBEAT_SECONDS + 4), "Infrastructure", frozenset({"LostPeer"})),
    "frozen for a moment": Fault(_pause(2.0), None),
    "ConfigMap deleted": Fault(_delete_config_map, None),
    "NetworkPolicy deleted": Fault(_delete_network_policy, None),
    "status wiped": Fault(_wipe_status, None),
    "nothing": Fault(_nothing, None),
}

NEEDS_PEER = frozenset({"frozen for long"})
"""Faults that end an attempt only if somebody loses the process."""
