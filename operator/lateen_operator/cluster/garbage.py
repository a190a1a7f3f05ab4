"""Objects of a job that serve no purpose any more, or are missing. Which, is decided by pure functions."""

from lateen_operator.cluster.informer_cache import JobObjects
from lateen_operator.cluster.observe import job_set_of, probes_of
from lateen_operator.cluster.views import ConfigMapView, JobSetView, PodView
from lateen_operator.observation import Observation


def useless_job_sets(objects: JobObjects, seen: Observation) -> list[JobSetView]:
    """JobSets of attempts before the newest, and of one that ended while its JobSet could still create pods.

    The newest that is over stays: with it stay the logs of its pods.
    """
    own = objects.attempt_job_sets
    newest = max((one.attempt for one in own), default=0)
    open_number = seen.attempt.number if seen.attempt else None
    return [
        one
        for one in own
        if one.deadline is None and (one.attempt < newest or (one.attempt != open_number and _may_go_on(one, objects)))
    ]


def useless_config_maps(objects: JobObjects) -> list[ConfigMapView]:
    """ConfigMaps of attempts before the newest JobSet's."""
    newest = max((one.attempt for one in objects.attempt_job_sets), default=0)
    return [one for one in objects.attempt_config_maps if one.deadline is None and one.attempt < newest]


def misses_config_map(objects: JobObjects, seen: Observation) -> bool:
    """Has the attempt that runs lost its ConfigMap?"""
    attempt = seen.attempt
    if attempt is None or seen.terminating_since is not None or job_set_of(objects, attempt.number) is None:
        return False
    return all(one.attempt != attempt.number for one in objects.attempt_config_maps)


def useless_probes(objects: JobObjects, wanted: int) -> list[PodView]:
    """Capacity probes that are not wanted, and those that ended by themselves."""
    return [
        pod for pod in probes_of(objects) if pod.deadline is None and (pod.probe >= wanted or pod.exit_code is not None)
    ]


def missing_probes(objects: JobObjects, wanted: int) -> list[int]:
    """Numbers of the capacity probes that are wanted and not there."""
    there = {pod.probe for pod in probes_of(objects)}
    return [number for number in range(wanted) if number not in there]


def _may_go_on(one: JobSetView, objects: JobObjects) -> bool:
    """Neither over, nor suspended by us without a queue that might resume it."""
    if one.ended is not None or (one.suspended and one.stopping is not None and one.queue is None):
        return False
    # Its end may be seen before JobSet writes it down.
    over = {
        (pod.slice_index, pod.host_index)
        for pod in objects.pods.values()
        if pod.job_set == one.name and pod.created_at >= one.created_at and pod.exit_code is not None
    }
    return len(over) < one.hosts
