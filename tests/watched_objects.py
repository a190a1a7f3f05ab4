"""Objects as the API server tells them, for tests of the operator."""

import json
from typing import Any

from lateen_operator.attempt_codec import timestamp
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, PODS

KEY = Key("team", "nano")
UID = "11111111-aaaa"
JOB_SET_UID = "22222222-bbbb"
T0 = 1_900_000_000.0
"""When the job was created: seconds since the epoch."""


def at(seconds: float) -> str:
    """A time so many seconds after T0, as Kubernetes writes it."""
    return timestamp(T0 + seconds).split(".")[0] + "Z"


def job(version: int = 1, *, uid: str = UID, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """The LMTrainingJob."""
    return {
        "apiVersion": "lateen.dev/v1alpha1",
        "kind": "LMTrainingJob",
        "metadata": {
            "name": KEY.name,
            "namespace": KEY.namespace,
            "uid": uid,
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": at(0),
        },
        "spec": spec,
        **({"status": status} if status is not None else {}),
    }


def owned(name: str, uid: str, version: int, attempt: int | None, owner: str = UID) -> dict[str, Any]:
    """Metadata of a child."""
    label = {"lateen.dev/attempt": str(attempt)} if attempt is not None else {}
    return {
        "name": name,
        "namespace": KEY.namespace,
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": at(10),
        "labels": {"lateen.dev/job": KEY.name, **label},
        "ownerReferences": [{"kind": "LMTrainingJob", "name": KEY.name, "uid": owner, "controller": True}],
    }


def job_set(
    attempt: int = 1,
    version: int = 2,
    *,
    slices: int = 1,
    hosts: int = 2,
    owner: str = UID,
    queue: str | None = None,
    suspend: bool | None = None,
    stopping: str | None = None,
    conditions: dict[str, float] | None = None,
    deleted: float | None = None,
) -> dict[str, Any]:
    """The JobSet of an attempt; `conditions` are true since so many seconds after T0."""
    metadata = owned(f"{KEY.name}-a{attempt}", f"{JOB_SET_UID}-{attempt}", version, attempt, owner)
    metadata["annotations"] = {"lateen.dev/spec-digest": "d1", "lateen.dev/wanted-hosts": str(slices * hosts)}
    if stopping is not None:
        metadata["annotations"]["lateen.dev/stopping"] = stopping
    if queue is not None:
        metadata["labels"]["kueue.x-k8s.io/queue-name"] = queue
    if deleted is not None:
        metadata["deletionTimestamp"] = at(deleted)
    return {
        "metadata": metadata,
        "spec": {
            **({"suspend": suspend} if suspend is not None else {}),
            "replicatedJobs": [
                {"name": "workers", "replicas": slices, "template": {"spec": {"parallelism": hosts}}},
            ],
        },
        "status": {
            "conditions": [
                {"type": name, "status": "True", "lastTransitionTime": at(since)}
                for name, since in (conditions or {}).items()
            ]
        },
    }


def config_map(attempt: int = 1, version: int = 2, ledger: dict[str, Any] | None = None) -> dict[str, Any]:
    """The ConfigMap of an attempt."""
    return {
        "metadata": owned(f"{KEY.name}-a{attempt}", f"33333333-cccc-{attempt}", version, attempt),
        "data": {"job.json": '{"spec": {"trainer": {"lanes": 16}}}', "ledger.json": json.dumps(ledger or {})},
    }


def pod(
    host: int = 0,
    version: int = 5,
    *,
    attempt: int = 1,
    slice_index: int = 0,
    uid: str | None = None,
    created: float = 11,
    placed: bool = True,
    running: bool = True,
    ended: tuple[int, float] | None = None,
    deleted: tuple[float, float] | None = None,
    phase: str | None = None,
    reason: str | None = None,
    pod_reason: str | None = None,
    disruption: str | None = None,
    disrupted: float | None = None,
    waiting: tuple[str, str] | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    """A trainer's pod, as a kubelet 1.36 reports it.

    Args:
        ended: exit code and seconds after T0.
        deleted: when its deletion was asked for, in seconds after T0, and its grace.
        reason: the container's.
        pod_reason: the pod's.
        disruption: reason of its DisruptionTarget condition.
        disrupted: when that was set, in seconds after T0.
        waiting: reason and message of a container that waits.
    """
    conditions = [{"type": "PodScheduled", "status": "True" if placed else "False", "lastTransitionTime": at(12)}]
    if not placed:
        conditions[0] |= {"reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}
    if disruption is not None:
        since = {} if disrupted is None else {"lastTransitionTime": at(disrupted)}
        conditions.append({"type": "DisruptionTarget", "status": "True", "reason": disruption, **since})
    state: dict[str, Any] = {}
    if ended is not None:
        finished = at(ended[1]) if ended[1] > 0 else None
        state["terminated"] = {"exitCode": ended[0], "finishedAt": finished, "reason": reason, "message": message}
    elif waiting is not None:
        state["waiting"] = {"reason": waiting[0], "message": waiting[1]}
    elif running and placed:
        state["running"] = {"startedAt": at(13)}
    if phase is None:
        is_running = running and placed and waiting is None
        phase = ("Failed" if ended[0] else "Succeeded") if ended else "Running" if is_running else "Pending"
    name = f"nano-a{attempt}-workers-{slice_index}-{host}-x{version % 1000}"
    metadata: dict[str, Any] = {
        "name": name if uid is None else f"{name}-{uid}",
        "namespace": KEY.namespace,
        "uid": uid or f"pod-{attempt}-{slice_index}-{host}",
        "resourceVersion": str(version),
        "creationTimestamp": at(created),
        "labels": {
            "lateen.dev/job": KEY.name,
            "lateen.dev/attempt": str(attempt),
            "jobset.sigs.k8s.io/jobset-name": f"nano-a{attempt}",
            "jobset.sigs.k8s.io/job-index": str(slice_index),
            "batch.kubernetes.io/job-completion-index": str(host),
        },
        "ownerReferences": [{"kind": "Job", "name": "nano-a1-workers-0", "uid": "j", "controller": True}],
    }
    # The name of a pod stays when its version grows.
    metadata["name"] = f"nano-a{attempt}-workers-{slice_index}-{host}-{metadata['uid'][-5:]}"
    if deleted is not None:
        metadata["deletionTimestamp"] = at(deleted[0] + deleted[1])
        metadata["deletionGracePeriodSeconds"] = deleted[1]
    return {
        "metadata": metadata,
        "spec": {"nodeName": f"node-{host}"} if placed else {},
        "status": {
            "phase": phase,
            "podIP": f"10.0.0.{host + 1}",
            "conditions": conditions,
            "containerStatuses": [{"name": "trainer", "state": state}] if placed and state else [],
            **({"reason": pod_reason} if pod_reason else {}),
        },
    }


def capacity_probe(number: int = 0, *, placed: bool = True, version: int = 5) -> dict[str, Any]:
    """a capacity probe's pod."""
    metadata = owned(f"nano-probe-{number}", f"scout-{number}", version, None)
    metadata["labels"]["lateen.dev/capacity-probe"] = str(number)
    scheduled = {"type": "PodScheduled", "status": "True" if placed else "False", "lastTransitionTime": at(20)}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Pending", "conditions": [scheduled]}}


class Cluster:
    """A store that is told of objects at times of the test's choice."""

    def __init__(self, *things: dict[str, Any]) -> None:
        self.now = T0 + 100
        self.store = InformerCache(lambda: self.now)
        for thing in things:
            self.put(thing)

    def put(self, thing: dict[str, Any]) -> Key | None:
        return self.store.put(_resource(thing), thing)

    def remove(self, thing: dict[str, Any], *, seconds: float) -> Key | None:
        """The watch tells at T0 + seconds that it is gone."""
        self.now = T0 + seconds
        return self.store.remove(_resource(thing), thing)


def _resource(thing: dict[str, Any]) -> Any:
    if thing.get("kind") == "LMTrainingJob":
        return JOBS
    if "replicatedJobs" in thing.get("spec", {}):
        return JOB_SETS
    return CONFIG_MAPS if "data" in thing else PODS
