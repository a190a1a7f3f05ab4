"""What the operator keeps of the objects that it watches: the few fields that decisions depend on.

A pod as the API server tells it is 10 kB of text and ten times that as Python objects. There may be thousands.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from lateen_api.status import JobStatus

Object = Mapping[str, Any]
"""An object as the API server tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Of any object."""

    name: str
    uid: str
    version: int
    """resourceVersion: grows with each change in the cluster (KEP-5504 makes them comparable)."""

    created_at: float
    deadline: float | None
    """deletionTimestamp: when it is to be gone; None: it is not being deleted."""

    owner: str | None
    """uid of the object that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView(View):
    """An LMTrainingJob."""

    generation: int
    suspended: bool
    lanes: int | None
    """Lanes of the run, as its status keeps them."""

    text: bytes
    """The object without its status and bookkeeping, as JSON: read once for each generation."""

    status_text: bytes
    """Its status as JSON. Text is a tenth of the same as Python objects."""

    def to_object(self) -> dict[str, Any]:
        """The object, without status."""
        return json.loads(self.text)

    @property
    def status(self) -> JobStatus:
        """The status as it is stored.

        Raises:
            ValueError: somebody wrote a status that is none.
        """
        return _read_status(self.status_text)


@lru_cache(maxsize=64)
def _read_status(text: bytes) -> JobStatus:
    """Read once for the several times that a reconciliation asks for it; kept for the jobs that are worked on alone."""
    return JobStatus.model_validate_json(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSetView(View):
    """The JobSet of an attempt."""

    attempt: int
    slices: int
    hosts_per_slice: int
    wanted_hosts: int | None
    digest: str | None
    queue: str | None
    """Kueue's LocalQueue that admits it."""

    suspended: bool
    may_have_pods_since: float
    """When it was created, or resumed last."""

    stopped_at: float | None
    """Since when all its Jobs are suspended; None: they are not."""

    stopping: str | None
    """The annotation that says why its pods were asked to terminate."""

    ledger: bytes
    """Status as of what was written last on this JobSet, as JSON: ledger, budgets and conditions."""

    ended: str | None
    """Completed or Failed; None: neither yet."""

    ended_at: float | None

    @property
    def hosts(self) -> int:
        """Hosts, and so processes, of the attempt."""
        return self.slices * self.hosts_per_slice


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapView(View):
    """The ConfigMap of an attempt."""

    attempt: int
    ledger: bytes
    """Status as of the attempt's start, as JSON: ledger and budgets."""

    lanes: int | None
    """Lanes of the job in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView(View):
    """A trainer's pod, or a capacity probe."""

    attempt: int | None
    """None: it is a capacity probe."""

    probe: int
    """Number of the capacity probe; -1: it is none."""

    job_set: str
    slice_index: int
    host_index: int
    node: str | None
    ip: str | None
    placed_at: float | None
    """When it got its node."""

    grace: float
    """Seconds that it is given to leave, until `deadline`."""

    asked_at: float | None
    """When its deletion was asked for; None: it is not being deleted."""

    running: bool
    waiting_for: str | None
    exit_code: int | None
    """Of its trainer; None: it has not ended, as far as is known."""

    ended_at: float | None
    reason: str | None
    """Why it ended, as Kubernetes names it: DisruptionTarget's, the pod's or the container's reason."""

    message: str | None
    """Termination message."""

    gone_at: float | None = None
    """When it was seen to be deleted for good; None: it exists."""

    def after(self, before: "PodView") -> "PodView":
        """This, knowing how the same pod was seen before.

        A client that shortens the grace of a deletion moves `deadline` to so long from now: nothing on the pod says
        when it was asked for first. A kubelet does that for every pod when it has ended, with a grace of 0.
        """
        if before.asked_at is None or self.deadline is None:
            return self
        seen = replace(self, asked_at=before.asked_at)
        # The time that a pod had left when it ended is the one before that.
        return seen if self.exit_code is None else replace(seen, deadline=before.deadline, grace=before.grace)
