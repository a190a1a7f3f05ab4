"""Metrics of each job, from the status that was written last.

They say which job they are of in labels that no scrape configuration sets by itself: `namespace` and `job` would be
those of the operator's own pod.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

from lateen_api.status import STATES, ConditionType, JobStatus, TimeStatus
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from lateen_operator.cluster.informer_cache import Key
from lateen_operator.process_exit import FailureClass

OWNER = ("training_job_namespace", "training_job")

Value = Callable[[JobStatus], float | None]


class JobMetrics(Collector):
    """Reads the statuses at each scrape. Jobs that are gone have no series.

    Args:
        namespace: what the names of the metrics begin with.
    """

    def __init__(self, namespace: str):
        self._namespace = namespace
        self._statuses: dict[Key, JobStatus] = {}
        self._ended: Counter[tuple[Key, str]] = Counter()

    def put(self, key: Key, status: JobStatus) -> None:
        """The status of a job, as it was written last."""
        # Attempts and conditions are most of it, of thousands of jobs perhaps, and metrics read one of them.
        queued = [of for of in status.conditions if of.type is ConditionType.QUEUED and of.status == "True"]
        self._statuses[key] = status.model_copy(update={"attempts": [], "conditions": queued, "avoided_nodes": []})

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._statuses.pop(key, None)
        for failure_class in FailureClass:
            self._ended.pop((key, failure_class), None)

    def attempt_ended(self, key: Key, failure_class: str) -> None:
        """Counts an attempt of a job, by the class of its end."""
        self._ended[key, failure_class] += 1

    def collect(self) -> Iterator[Metric]:
        statuses = dict(self._statuses)
        yield self._states(statuses)
        info = self._family("job_info", "1; state and accelerator of a job are in the labels.", "state", "accelerator")
        for key, status in statuses.items():
            info.add_metric((*key, status.state, status.plan.accelerator if status.plan else ""), 1)
        yield info
        queued = self._family("job_queued", "1 for a job that is Queued, by the reason of that condition.", "reason")
        for key, status in statuses.items():
            for condition in status.conditions:
                queued.add_metric((*key, condition.reason), 1)
        yield queued
        for name, documentation, value in _GAUGES:
            family = self._family(name, documentation)
            for key, status in statuses.items():
                found = value(status)
                if found is not None:
                    family.add_metric(key, found)
            yield family
        attempts = CounterMetricFamily(f"{self._namespace}_job_attempts", "Attempts of a job.", labels=OWNER)
        for key, status in statuses.items():
            attempts.add_metric(key, status.attempt_count)
        yield attempts
        yield self._times(statuses)
        yield self._attempts_ended(statuses)

    def _attempts_ended(self, statuses: dict[Key, JobStatus]) -> Metric:
        """All classes stand at 0 from a job's first status, so that increase() sees its first failure."""
        family = CounterMetricFamily(
            f"{self._namespace}_job_attempts_ended",
            "Attempts of a job that ended since the operator started.",
            labels=(*OWNER, "failure_class"),
        )
        for key in statuses:
            for failure_class in FailureClass:
                family.add_metric((*key, failure_class.value), self._ended[key, failure_class])
        return family

    def _states(self, statuses: dict[Key, JobStatus]) -> Metric:
        family = GaugeMetricFamily(f"{self._namespace}_jobs", "Jobs by state.", labels=["state"])
        numbers = Counter(status.state for status in statuses.values())
        for state in dict.fromkeys((*STATES, *numbers)):
            family.add_metric([state], numbers[state])
        return family

    def _times(self, statuses: dict[Key, JobStatus]) -> Metric:
        documentation = "Where the time since a job was created went; the parts add up to the wall time."
        family = CounterMetricFamily(f"{self._namespace}_job_seconds", documentation, labels=(*OWNER, "activity"))
        for key, status in statuses.items():
            for activity, seconds in (status.time or TimeStatus()).model_dump().items():
                family.add_metric((*key, activity), seconds)
        return family

    def _family(self, name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._namespace}_{name}", documentation, labels=(*OWNER, *labels))


def _devices(status: JobStatus) -> float | None:
    """Of the attempt that runs. The plan is of all hosts that the job asks for, and the last of `hostCounts`."""
    if status.plan is None:
        return None
    return float(status.plan.devices) if status.hosts else 0.0


def _committed_at(status: JobStatus) -> float | None:
    return None if status.last_checkpoint is None else datetime.fromisoformat(status.last_checkpoint.time).timestamp()


_GAUGES: tuple[tuple[str, str, Value], ...] = (
    ("job_step", "Completed steps of a job.", lambda status: status.progress and status.progress.step),
    ("job_target_steps", "Steps of a job.", lambda status: status.progress and status.progress.of),
    ("job_hosts", "Hosts of a job's present attempt; 0: it has none.", lambda status: status.hosts),
    ("job_devices", "JAX devices of a job's present attempt; 0: it has none.", _devices),
    ("job_goodput_ratio", "Part of a job's time on machines that went into steps that count.", lambda s: s.goodput),
    (
        "job_checkpoint_step",
        "Completed steps at a job's last checkpoint.",
        lambda s: s.last_checkpoint and s.last_checkpoint.step,
    ),
    ("job_checkpoint_timestamp_seconds", "When a job's last checkpoint was committed.", _committed_at),
)
