"""The resource as the API server stores it → all that is decided before anything is created, or why it cannot run.

The plan's refusals and those of the manifests come together, so that a person mends all of them at once. Pure.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lateen_api.errors import JobError, raise_all
from lateen_api.masking import without_secrets
from lateen_api.plan import Plan, known_vocab_size, make_plan
from lateen_api.spec import LMTrainingJob
from lateen_api.spec.job import API_VERSION, KIND
from lateen_api.spec.section import duration_seconds
from lateen_api.validation import validate_job

from lateen_operator.fitting import fitted, with_lanes, with_spec
from lateen_operator.manifests.environ import check_environment
from lateen_operator.manifests.gpu_network import check_network
from lateen_operator.manifests.override import check_override
from lateen_operator.manifests.scheduling import avoids_nodes, check_scheduling
from lateen_operator.manifests.storage import cache_dir, check_storage
from lateen_operator.observation import Target

DIGEST_LENGTH = 16
"""Hexadecimal digits: it tells the versions of one job apart."""

_FOLLOWED = {
    "suspend": True,
    "data": {"prepare"},
    "ttl_after_finished": True,
    "compute": {"hosts", "min_hosts", "max_hosts", "slices", "min_slices", "max_slices", "resize_after"},
    "recovery": {"max_failures", "max_preemptions", "max_infrastructure_failures", "start_deadline"},
}
"""Fields that the operator follows while an attempt runs: a change of them needs no new attempt."""

T = TypeVar("T")


@dataclass(frozen=True)
class Resolved:
    """A job that can run, at one number of hosts."""

    written: LMTrainingJob
    """The job as it was written, with the places of its data and its lanes filled in: the same at any width."""

    job: LMTrainingJob
    """The job as its pods read it: every default filled in, for this number of hosts."""

    plan: Plan
    """At this number of hosts."""

    target: Target
    """What the job asks for, whatever the number of hosts is here."""

    digest: str
    """Digest of all that an attempt is built from; the same at any width."""

    @property
    def resolved_json(self) -> str:
        """The job as the attempt's ConfigMap holds it: equal jobs give equal texts. Variables reach the pods by the
        JobSet, so their secrets are masked here."""
        plain = self.job.model_dump(mode="json", by_alias=True)
        plain["spec"]["compute"] = without_secrets(plain["spec"]["compute"])
        return json.dumps(plain, ensure_ascii=False, indent=1)

    def at_hosts(self, hosts: int) -> "Resolved":
        """The same job on another number of hosts.

        Raises:
            JobError: it cannot run on so many.
        """
        if hosts == self.plan.hosts:
            return self
        plan = _plan(self.written, hosts)
        return Resolved(self.written, _fitted(self.written, plan), plan, self.target, self.digest)


def resolve(body: Mapping[str, Any], *, lanes: int | None = None) -> Resolved:
    """Plans a job for the cluster, on the number of hosts that it asks for.

    Args:
        body: the resource as the API server stores it.
        lanes: lanes that the job began with (`lanes_of` its first attempt); the plan might choose others for
            another number of hosts, and with other lanes the losses have other bits.

    Raises:
        JobError: the job cannot run as it is written. Several reasons come as one JobErrors.
    """
    job = read_job(body)
    written = _with_places(with_lanes(job, lanes))
    errors = [
        *check_storage(job.spec),
        *check_environment(job.spec.compute),
        *check_scheduling(job.spec.compute),
        *check_network(job.spec.compute),
        *check_override(job.spec.compute.pod_template),
    ]
    plan = _collect(errors, lambda: _plan(written, None))
    raise_all(_explained(errors, job, written))
    assert plan is not None, "the plan failed without saying why"
    if plan.lanes is not None:
        written = with_lanes(written, plan.lanes)
    spec = job.spec
    target = Target(
        recovery=spec.recovery,
        hosts=plan.hosts,
        host_counts=tuple(plan.host_counts),
        resize_after=_seconds(spec.compute.resize_after),
        steps=spec.trainer.num_train_steps,
        digest=digest(job),
        avoids_nodes=avoids_nodes(plan),
        builders=builders_digest(job),
        ttl=_seconds(spec.ttl_after_finished),
    )
    return Resolved(written, _fitted(written, plan), plan, target, digest(job))


def read_job(body: Mapping[str, Any]) -> LMTrainingJob:
    """The job in a resource, without what the API server and other programs noted on it.

    Raises:
        JobError: it is no valid job: it was stored under another version of the CRD, or without one.
    """
    identity = {"apiVersion": body.get("apiVersion", API_VERSION), "kind": body.get("kind", KIND)}
    kept = {name: value for name, value in body.get("metadata", {}).items() if name in ("name", "namespace")}
    spec = {"spec": body["spec"]} if "spec" in body else {}
    return validate_job({**identity, "metadata": kept, **spec}, "the resource")


def digest(job: LMTrainingJob) -> str:
    """Digest of all that an attempt is built from.

    Fields that have their default do not count, so that a version of lateen with more fields sees the same job.
    """
    written = job.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=_FOLLOWED)
    # A section of which all that was written is followed live is as good as one that was not written.
    sections = {name: value for name, value in written.items() if value != {}}
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:DIGEST_LENGTH]


def builders_digest(job: LMTrainingJob) -> str | None:
    """Digest of all that the builders of the token caches are made from; None: the trainers build them."""
    prepare = job.spec.data.prepare
    if prepare is None:
        return None
    text = f"{digest(job)} {prepare.model_dump_json(exclude_defaults=True)}"
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def lanes_of(resolved_json: str) -> int | None:
    """The lanes in an attempt's `job.json`; None: its mode is fast.

    Raises:
        ValueError: the text is no job.
    """
    try:
        return json.loads(resolved_json)["spec"]["trainer"].get("lanes")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a job: {resolved_json[:200]!r}") from error


def _plan(job: LMTrainingJob, hosts: int | None) -> Plan:
    return make_plan(job, vocab_size=known_vocab_size(job.spec.data.tokenizer), hosts=hosts)


def _collect(errors: list[JobError], stage: Callable[[], T]) -> T | None:
    try:
        return stage()
    except JobError as error:
        errors.extend(error.errors)
        return None


def _explained(errors: list[JobError], job: LMTrainingJob, written: LMTrainingJob) -> list[JobError]:
    """Lanes that nobody wrote, but the job began with, need a word."""
    lanes = written.spec.trainer.lanes
    if lanes is None or job.spec.trainer.lanes is not None:
        return errors
    began = f"The job began with {lanes} lanes, and keeps them so that its losses keep their bits."
    return [
        JobError(error.where, f"{error.message} {began}") if error.where == "spec.trainer.lanes" else error
        for error in errors
    ]


def _with_places(job: LMTrainingJob) -> LMTrainingJob:
    return with_spec(job, data=job.spec.data.model_copy(update={"cache_dir": cache_dir(job.spec)}))


def _fitted(job: LMTrainingJob, plan: Plan) -> LMTrainingJob:
    return with_spec(job, compute=fitted(job.spec.compute, plan))


def _seconds(duration: str | None) -> float | None:
    return None if duration is None else duration_seconds(duration)
