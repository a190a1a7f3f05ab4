"""What is known of every job and its objects, as the watches and the API's own answers tell it.

The store may hear of a change twice (from the answer to our own request and from the watch), or late: by its version
each object only ever gets newer, and one that was deleted does not come back as an older self. So after a request
was answered, no decision is made from what was there before it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from lateen_api.spec.job import KIND

from lateen_operator.cluster.parse_objects import view_config_map, view_job, view_job_set, view_other, view_pod
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, NETWORK_POLICIES, PODS, Resource
from lateen_operator.cluster.views import ConfigMapView, JobSetView, JobView, PodView, View
from lateen_operator.names import BUILDERS_ATTEMPT, JOB_LABEL

_Any = TypeVar("_Any", bound=View)

_VIEWS: Mapping[Resource, Callable[[Mapping[str, Any]], View]] = {
    JOBS: view_job,
    JOB_SETS: view_job_set,
    CONFIG_MAPS: view_config_map,
    NETWORK_POLICIES: view_other,
    PODS: view_pod,
}
_DELETIONS_KEPT = 64


class Key(NamedTuple):
    """A job."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass
class JobObjects:
    """A job and what belongs to it, by name; pods that are gone stay as long as their end is of interest."""

    job: JobView | None = None
    job_sets: dict[str, JobSetView] = field(default_factory=dict)
    config_maps: dict[str, ConfigMapView] = field(default_factory=dict)
    network_policies: dict[str, View] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    gone: dict[str, PodView] = field(default_factory=dict)
    """Pods that were deleted, as they were seen last, by uid."""

    gone_job_sets: dict[int, JobSetView] = field(default_factory=dict)
    """JobSets that were deleted, as they were seen last, by attempt."""

    deleted: dict[tuple[str, str], int] = field(default_factory=dict)
    """Versions at which objects were deleted, by kind and name."""

    def of(self, resource: Resource) -> dict[str, Any]:
        """The children of one kind."""
        return {
            JOB_SETS: self.job_sets,
            CONFIG_MAPS: self.config_maps,
            NETWORK_POLICIES: self.network_policies,
            PODS: self.pods,
        }[resource]

    def own(self, things: Iterable[_Any]) -> list[_Any]:
        """Those that belong to the job as it is now, and not to a former one of its name."""
        return [thing for thing in things if self.job is not None and thing.owner == self.job.uid]

    @property
    def attempt_job_sets(self) -> list[JobSetView]:
        """The job's own JobSets of attempts."""
        return [one for one in self.own(self.job_sets.values()) if one.attempt != BUILDERS_ATTEMPT]

    @property
    def attempt_config_maps(self) -> list[ConfigMapView]:
        """The job's own ConfigMaps of attempts."""
        return [one for one in self.own(self.config_maps.values()) if one.attempt != BUILDERS_ATTEMPT]

    @property
    def builders(self) -> JobSetView | None:
        """The JobSet of the builders of the token caches."""
        return next((one for one in self.own(self.job_sets.values()) if one.attempt == BUILDERS_ATTEMPT), None)

    @property
    def builder_config_maps(self) -> list[ConfigMapView]:
        """The ConfigMap of the builders of the token caches."""
        return [one for one in self.own(self.config_maps.values()) if one.attempt == BUILDERS_ATTEMPT]

    @property
    def is_empty(self) -> bool:
        return self.job is None and not (self.job_sets or self.config_maps or self.network_policies or self.pods)


class InformerCache:
    """All jobs.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._jobs: dict[Key, JobObjects] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def keys(self) -> list[Key]:
        """All jobs of which something is known."""
        return list(self._jobs)

    def get(self, key: Key) -> JobObjects:
        """What is known of a job."""
        return self._jobs.get(key) or JobObjects()

    def put(self, resource: Resource, thing: Mapping[str, Any]) -> Key | None:
        """Takes note of an object as it is now. Returns the job that this may matter to."""
        key = key_of(resource, thing)
        if key is None:
            return None
        seen = _VIEWS[resource](thing)
        objects = self._jobs.setdefault(key, JobObjects())
        known = objects.job if resource is JOBS else objects.of(resource).get(seen.name)
        deleted = objects.deleted.get((resource.plural, seen.name), -1)
        if seen.version <= max(deleted, known.version if known else -1):
            return None
        if isinstance(known, PodView) and known.uid != seen.uid:
            self._bury(objects, known)
        elif isinstance(known, PodView) and isinstance(seen, PodView):
            seen = seen.after(known)
        if isinstance(seen, JobView):
            objects.job = seen
        else:
            objects.of(resource)[seen.name] = seen
        return key

    def remove(self, resource: Resource, thing: Mapping[str, Any]) -> Key | None:
        """Takes note of an object's end; `thing` is the object as it was last. Returns the job that it matters to."""
        key = key_of(resource, thing)
        if key is None or key not in self._jobs:
            return None
        self._drop(self._jobs[key], resource, _VIEWS[resource](thing))
        if self._jobs[key].is_empty:
            del self._jobs[key]
        return key

    def drop(self, key: Key, resource: Resource, last: View) -> None:
        """Takes note that an object was deleted by us: there is no need to wait until the watch says so."""
        if key in self._jobs:
            self._drop(self._jobs[key], resource, last)

    def keep_only(self, resource: Resource, namespace: str | None, uids: set[str], before: int) -> set[Key]:
        """Forgets objects that a list of all of them did not show.

        Args:
            resource: the kind that was listed.
            namespace: in which; None: in all.
            uids: of those in the list.
            before: version of the list: what is newer than it is kept.

        Returns:
            The jobs that this matters to.
        """
        changed = set()
        for key, objects in list(self._jobs.items()):
            if namespace is not None and key.namespace != namespace:
                continue
            known = ([objects.job] if objects.job else []) if resource is JOBS else list(objects.of(resource).values())
            for thing in known:
                if thing.uid not in uids and thing.version <= before:
                    self._drop(objects, resource, thing)
                    changed.add(key)
            if objects.is_empty:
                del self._jobs[key]
        return changed

    def forget_gone(self, key: Key, before: int) -> None:
        """Forgets deleted pods and JobSets of attempts before this one."""
        objects = self.get(key)
        for number in [number for number in objects.gone_job_sets if number < before]:
            del objects.gone_job_sets[number]
        for uid in [uid for uid, pod in objects.gone.items() if (pod.attempt or 0) < before]:
            del objects.gone[uid]

    def _drop(self, objects: JobObjects, resource: Resource, last: View) -> None:
        known = objects.job if resource is JOBS else objects.of(resource).get(last.name)
        deleted = objects.deleted
        deleted[resource.plural, last.name] = max(last.version, deleted.get((resource.plural, last.name), -1))
        while len(deleted) > _DELETIONS_KEPT:
            del deleted[next(iter(deleted))]
        if isinstance(last, PodView):
            before = objects.pods.get(last.name)
            self._bury(objects, last.after(before) if before is not None and before.uid == last.uid else last)
        if isinstance(last, JobSetView):
            objects.gone_job_sets[last.attempt] = last
        if known is None or known.uid != last.uid:
            return
        if resource is JOBS:
            objects.job = None
        else:
            del objects.of(resource)[last.name]

    def _bury(self, objects: JobObjects, pod: PodView) -> None:
        if pod.attempt is not None and pod.uid not in objects.gone:
            objects.gone[pod.uid] = replace(pod, gone_at=self._clock())


def key_of(resource: Resource, thing: Mapping[str, Any]) -> Key | None:
    """The job that an object belongs to; None: to none, whatever its labels say."""
    metadata = thing["metadata"]
    if resource is JOBS:
        return Key(metadata["namespace"], metadata["name"])
    job = (metadata.get("labels") or {}).get(JOB_LABEL)
    is_ours = resource is PODS or any(
        owner.get("controller") and owner["kind"] == KIND for owner in metadata.get("ownerReferences") or ()
    )
    return Key(metadata["namespace"], job) if job and is_ours else None
