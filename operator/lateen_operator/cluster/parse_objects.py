"""Objects as the API server sends them, parsed into the few fields that the operator keeps of them."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from lateen_operator import names
from lateen_operator.cluster.times import CLOCKS_DIFFER_SECONDS, epoch
from lateen_operator.cluster.views import ConfigMapView, JobSetView, JobView, Object, PodView, View
from lateen_operator.resolve import lanes_of


def view_job(job: Object) -> JobView:
    """The view of an LMTrainingJob."""
    kept = {key: value for key, value in job.items() if key not in ("metadata", "status")}
    metadata = {key: job["metadata"].get(key) for key in ("name", "namespace", "uid")}
    kept["metadata"] = {key: value for key, value in metadata.items() if value}
    spec, status = job.get("spec"), job.get("status")
    lanes = status.get("lanes") if isinstance(status, Mapping) else None
    return JobView(
        **_common(job),
        generation=job["metadata"].get("generation", 0),
        suspended=isinstance(spec, Mapping) and spec.get("suspend") is True,
        lanes=lanes if isinstance(lanes, int) and lanes > 0 else None,
        text=_json(kept),
        status_text=_json(status or {}),
    )


def view_job_set(job_set: Object) -> JobSetView:
    """The view of an attempt's JobSet."""
    metadata, spec, status = job_set["metadata"], job_set["spec"], job_set.get("status") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    workers = spec["replicatedJobs"][0]
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ended = next((name for name in ("Completed", "Failed") if _is_true(conditions.get(name))), None)
    common, suspended = _common(job_set), conditions.get("Suspended") or {}
    changed_at = epoch(suspended.get("lastTransitionTime"))
    resumed_at = changed_at if suspended.get("status") == "False" else None
    return JobSetView(
        **common,
        may_have_pods_since=max(common["created_at"], resumed_at or 0.0),
        attempt=int(labels[names.ATTEMPT_LABEL]),
        slices=workers.get("replicas", 1),
        hosts_per_slice=workers["template"]["spec"].get("parallelism", 1),
        wanted_hosts=_integer(annotations.get(names.WANTED_HOSTS)),
        digest=annotations.get(names.SPEC_DIGEST),
        queue=labels.get(names.QUEUE_LABEL),
        suspended=spec.get("suspend") is True,
        stopped_at=(changed_at or common["created_at"]) if _is_true(suspended) else None,
        stopping=annotations.get(names.STOPPING),
        ledger=annotations.get(names.LEDGER, "{}").encode(),
        ended=ended,
        ended_at=epoch(conditions[ended].get("lastTransitionTime")) if ended else None,
    )


def view_config_map(config_map: Object) -> ConfigMapView:
    """The view of an attempt's ConfigMap."""
    data = config_map.get("data") or {}
    return ConfigMapView(
        **_common(config_map),
        attempt=int(config_map["metadata"]["labels"][names.ATTEMPT_LABEL]),
        ledger=data.get(names.LEDGER_KEY, "{}").encode(),
        lanes=_lanes(data.get(names.JOB_KEY, "")),
    )


def view_pod(pod: Object) -> PodView:
    """The view of a pod."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    container = _trainer(status.get("containerStatuses") or ())
    state = container.get("state") or {}
    terminated = state.get("terminated")
    phase = status.get("phase")
    exit_code = terminated.get("exitCode") if terminated else {"Succeeded": 0, "Failed": 137}.get(phase or "")
    scheduled = conditions.get("PodScheduled") or {}
    attempt = labels.get(names.ATTEMPT_LABEL)
    ended_at = None if exit_code is None else _ended_at(terminated or {}, conditions, metadata)
    running = exit_code is None and phase == "Running" and ("running" in state or not container)
    probe = labels.get(names.PROBE_LABEL, labels.get(names.FORMER_PROBE_LABEL))
    common, grace = _common(pod), float(metadata.get("deletionGracePeriodSeconds") or 0)
    return PodView(
        **common,
        attempt=None if probe is not None or attempt is None else int(attempt),
        probe=-1 if probe is None else int(probe),
        job_set=sys.intern(labels.get(names.JOBSET_NAME_LABEL, "")),
        slice_index=int(labels.get(names.JOB_INDEX_LABEL, 0)),
        host_index=int(labels.get(names.COMPLETION_INDEX_LABEL, 0)),
        node=sys.intern(pod["spec"]["nodeName"]) if pod.get("spec", {}).get("nodeName") else None,
        ip=status.get("podIP"),
        placed_at=epoch(scheduled.get("lastTransitionTime")) if _is_true(scheduled) else None,
        grace=grace,
        asked_at=None if common["deadline"] is None else common["deadline"] - grace,
        running=running,
        waiting_for=None if running else _waiting_for(state, scheduled),
        exit_code=exit_code,
        ended_at=ended_at,
        reason=_reason(conditions.get("DisruptionTarget"), status, terminated or {}, ended_at),
        message=(terminated or {}).get("message"),
    )


def view_other(thing: Object) -> View:
    """The view of an object of which only its being there matters."""
    return View(**_common(thing))


def _lanes(job: str) -> int | None:
    try:
        return lanes_of(job)
    except ValueError:
        return None


def _common(thing: Object) -> dict[str, Any]:
    metadata = thing["metadata"]
    owners = metadata.get("ownerReferences") or ()
    return {
        "name": metadata["name"],
        "uid": sys.intern(metadata["uid"]),
        "version": int(metadata.get("resourceVersion") or 0),
        "created_at": epoch(metadata.get("creationTimestamp")) or 0.0,
        "deadline": epoch(metadata.get("deletionTimestamp")),
        "owner": next((sys.intern(owner["uid"]) for owner in owners if owner.get("controller")), None),
    }


def _trainer(containers: Any) -> Object:
    named = [container for container in containers if container.get("name") == names.CONTAINER]
    return next(iter([*named, *containers]), {})


def _reason(disruption: Object | None, status: Object, terminated: Object, ended_at: float | None) -> str | None:
    """Why a pod ended, as the platform says: for what came first."""
    reason = terminated.get("reason")
    own = reason if reason in ("OOMKilled", "ContainerStatusUnknown") else None
    if disruption is not None and _is_true(disruption):
        disrupted_at = epoch(disruption.get("lastTransitionTime"))
        if ended_at is None or disrupted_at is None:
            return own if own == "OOMKilled" else disruption["reason"]
        # No kubelet calls it OOMKilled when it ends a container because of an eviction.
        tolerance = 0.0 if own == "OOMKilled" else -CLOCKS_DIFFER_SECONDS
        return own if ended_at <= disrupted_at + tolerance else disruption["reason"]
    return own if own == "OOMKilled" else status.get("reason") or own


def _ended_at(terminated: Object, conditions: Mapping[str, Object], metadata: Object) -> float:
    """When a pod that has ended did. Kubelets that lost sight of a container leave its time at zero."""
    changes = [epoch(condition.get("lastTransitionTime")) or 0.0 for condition in conditions.values()]
    return epoch(terminated.get("finishedAt")) or max(changes, default=0.0) or epoch(metadata["creationTimestamp"]) or 0


def _waiting_for(state: Object, scheduled: Object) -> str | None:
    waiting = state.get("waiting")
    if waiting and waiting.get("reason"):
        return _joined(waiting["reason"], waiting.get("message"))
    if scheduled and not _is_true(scheduled) and scheduled.get("reason"):
        return _joined(scheduled["reason"], scheduled.get("message"))
    return None


def _joined(reason: str, message: str | None) -> str:
    return f"{reason}: {message}"[:300] if message else reason


def _is_true(condition: Object | None) -> bool:
    return condition is not None and condition.get("status") == "True"


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _json(thing: Any) -> bytes:
    return json.dumps(thing, separators=(",", ":")).encode()
