"""The state of a JobSet in its queue, read from Kueue's Workload. Pure.

https://kueue.sigs.k8s.io/docs/reference/kueue.v1beta2/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lateen_operator.observation import WAITING_FOR_ADMISSION, Admission

JOB_UID_LABEL = "kueue.x-k8s.io/job-uid"
"""On a Workload: the uid of what it stands for."""

INADMISSIBLE = "QueueInadmissible"
"""Reason of the condition Queued: the queue does not exist, or admits nothing, and waiting does not change that."""

NOT_SERVED = "QueueNotServed"
"""No Kueue looks after the queue."""

_LONGEST = 600
"""Characters of Kueue's message."""

_REMEDIES = (
    (("LocalQueue", "doesn't exist"), "Create the LocalQueue in the job's namespace, or correct spec.compute.queue"),
    (("ClusterQueue", "doesn't exist"), "Create the ClusterQueue, or have the LocalQueue name another"),
    (("LocalQueue", ""), "`kubectl describe localqueue {queue}` says why; spec.stopPolicy may be set"),
    (("ClusterQueue", ""), "`kubectl describe clusterqueue` says why: it is stopped, or a flavor of it is missing"),
)
"""Parts of Kueue's message, and what to do."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The few fields that matter here."""

    name: str
    job_uid: str
    active: bool
    reserved: bool
    """Its quota is reserved."""

    reason: str
    """Of the condition QuotaReserved; empty: Kueue has not looked at it yet."""

    message: str
    checks: tuple[str, ...]
    """Admission checks that have not passed, each as `NAME: Pending: message`."""

    evicted: str | None
    """Reason and message of its eviction."""


def view_workload(workload: Mapping[str, Any]) -> Workload:
    """The view of a Workload, of v1beta1 or v1beta2."""
    metadata, status = workload["metadata"], workload.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    quota, evicted = conditions.get("QuotaReserved") or {}, conditions.get("Evicted") or {}
    checks = [check for check in status.get("admissionChecks") or () if check.get("state") != "Ready"]
    return Workload(
        name=metadata["name"],
        job_uid=(metadata.get("labels") or {}).get(JOB_UID_LABEL, ""),
        active=workload.get("spec", {}).get("active") is not False,
        reserved=quota.get("status") == "True",
        reason=quota.get("reason", ""),
        message=_text(quota.get("message")),
        checks=tuple(_joined(f"{check.get('name')}: {check.get('state')}", check.get("message")) for check in checks),
        evicted=_joined(evicted["reason"], evicted.get("message")) if evicted.get("status") == "True" else None,
    )


def admission_of(workload: Workload, queue: str) -> Admission | None:
    """Why Kueue has not admitted the Workload; None: it has, and the JobSet is about to be resumed."""
    if not workload.active:
        remedy = f"Set spec.active of Workload {workload.name} to true"
        return Admission(INADMISSIBLE, f"Its Workload is deactivated. {remedy}.")
    if workload.reserved:
        checks = "; ".join(workload.checks)
        message = f"Kueue has reserved its quota in queue {queue}; admission checks have not passed: {checks}."
        return Admission(WAITING_FOR_ADMISSION, message) if checks else None
    if not workload.reason:
        return Admission(WAITING_FOR_ADMISSION, f"Kueue has not looked at it yet in queue {queue}.")
    message = f"Kueue has not admitted it to queue {queue}: {_joined(workload.reason, workload.message)}."
    if workload.reason != "Inadmissible":
        return Admission(WAITING_FOR_ADMISSION, message)
    words = workload.message
    remedy = next((remedy for parts, remedy in _REMEDIES if all(part in words for part in parts)), "")
    return Admission(INADMISSIBLE, f"{message} {remedy.format(queue=queue)}." if remedy else message)


def not_installed(queue: str) -> Admission:
    """The API server does not know Workloads."""
    message = f"Queue {queue} is not served: the API server does not know Kueue's Workloads (kueue.x-k8s.io)"
    return Admission(NOT_SERVED, f"{message}. Install Kueue, or remove spec.compute.queue.")


def not_served(job_set: str, queue: str) -> Admission:
    """Kueue's kinds exist, but it made no Workload."""
    message = f"Queue {queue} is not served: Kueue has made no Workload for JobSet {job_set}"
    remedy = "See whether Kueue runs, with jobset.x-k8s.io/jobset among its integrations and in this namespace"
    return Admission(NOT_SERVED, f"{message}. {remedy}, or remove spec.compute.queue.")


def _joined(reason: str, message: str | None) -> str:
    return f"{reason}: {_text(message)}" if message else reason


def _text(message: str | None) -> str:
    text = " ".join((message or "").split()).rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"
