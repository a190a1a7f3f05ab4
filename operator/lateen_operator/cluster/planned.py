"""What each job asks for, planned once for every version of its text."""

from dataclasses import dataclass, field, replace

from lateen_api.errors import JobError
from lateen_api.spec import RecoverySpec
from lateen_api.status import PlanStatus

from lateen_operator.cluster.informer_cache import JobObjects, Key
from lateen_operator.cluster.ledger import ledger_of
from lateen_operator.cluster.plan_status import plan_status
from lateen_operator.observation import Target
from lateen_operator.resolve import Resolved, resolve


@dataclass(frozen=True)
class Planned:
    """A version of a job's text."""

    uid: str
    generation: int
    lanes: int | None
    """Lanes that the job began with."""

    target: Target
    """What it asks for; while it is refused, what it asked for before."""

    resolved: Resolved | None = None
    plan: PlanStatus | None = None
    refusal: JobError | None = None


@dataclass
class Plans:
    """The plans of all jobs."""

    _planned: dict[Key, Planned] = field(default_factory=dict)

    def of(self, key: Key, objects: JobObjects) -> Planned:
        """The plan of a job as it is written now."""
        job = objects.job
        assert job is not None, "plan of a job that is not there"
        known = self._planned.get(key)
        lanes = _lanes(objects)
        if known is not None and (known.uid, known.generation, known.lanes) == (job.uid, job.generation, lanes):
            return known
        if known is not None and known.resolved is not None and _is_same(known, objects, known.resolved, lanes):
            self._planned[key] = replace(known, lanes=lanes)
            return self._planned[key]
        former = known.target if known is not None and known.uid == job.uid else None
        planned = _plan(objects, lanes, former)
        self._planned[key] = planned
        return planned

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._planned.pop(key, None)


def _plan(objects: JobObjects, lanes: int | None, former: Target | None) -> Planned:
    job = objects.job
    assert job is not None, "plan of a job that is not there"
    try:
        resolved = resolve(job.to_object(), lanes=lanes)
    except JobError as error:
        return Planned(job.uid, job.generation, lanes, former or _unknown(objects), refusal=error)
    return Planned(job.uid, job.generation, lanes, resolved.target, resolved, plan_status(resolved.plan))


def _is_same(known: Planned, objects: JobObjects, resolved: Resolved, lanes: int | None) -> bool:
    """Does the plan hold although the first attempt has got its ConfigMap, which says how many lanes it has?"""
    job = objects.job
    return (
        job is not None and (known.uid, known.generation) == (job.uid, job.generation) and resolved.plan.lanes == lanes
    )


def _unknown(objects: JobObjects) -> Target:
    """Of a job that was never understood: an attempt of its former text goes on as it was started."""
    attempts = ledger_of(objects).attempts
    hosts = (attempts[-1].wanted_hosts or attempts[-1].hosts) if attempts else 1
    return Target(recovery=RecoverySpec(), hosts=hosts)


def _lanes(objects: JobObjects) -> int | None:
    """Lanes of the run, as its status says; where that was wiped, of the oldest attempt whose ConfigMap is there: each
    has those of the one before it."""
    if objects.job is not None and objects.job.lanes is not None:
        return objects.job.lanes
    config_maps = objects.attempt_config_maps
    oldest = min(config_maps, key=lambda one: one.attempt, default=None)
    return oldest.lanes if oldest else None
