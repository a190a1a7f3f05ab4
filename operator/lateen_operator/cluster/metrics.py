"""The operator's own metrics, for Prometheus, all named `lateen_operator_*`.

docs/metrics.md is generated from the names and texts here.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from lateen_operator.cluster.job_metrics import JobMetrics
from lateen_operator.cluster.resources import WATCHED
from lateen_operator.process_exit import FailureClass

NAMESPACE = "lateen_operator"

_RECONCILE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECOVERY_BUCKETS = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 600.0, 1800.0)


class Metrics:
    """All of them, in a registry of their own. Series whose labels are known stand at 0 from the start."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry, "namespace": NAMESPACE}
        ProcessCollector(registry=self.registry)
        self.jobs = JobMetrics(NAMESPACE)
        self.registry.register(self.jobs)
        self.reconciliations = Histogram(
            "reconcile_duration_seconds",
            "Duration of a reconciliation of one job, API requests included.",
            buckets=_RECONCILE_BUCKETS,
            **own,
        )
        self.errors = Counter("reconcile_errors", "Reconciliations that raised an error.", ["error"], **own)
        self.attempts = Counter("attempts_ended", "Attempts that ended.", ["failure_class"], **own)
        self.recovery = Histogram(
            "recovery_duration_seconds",
            "From the end of an attempt to the next completed step of its job.",
            buckets=_RECOVERY_BUCKETS,
            **own,
        )
        self.requests = Counter("api_requests", "Requests to the API server.", ["verb", "code"], **own)
        self.request_seconds = Histogram(
            "api_request_duration_seconds",
            "Duration of a request to the API server, watches excluded.",
            buckets=_RECONCILE_BUCKETS,
            **own,
        )
        self.status_patches = Counter("status_patches", "Status updates written.", **own)
        self.watch_events = Counter("watch_events", "Events received over watches.", ["resource"], **own)
        self.polls = Counter("progress_polls", "Progress polls of process 0.", ["result"], **own)
        self.queue_depth = Gauge("workqueue_depth", "Jobs that wait for a worker.", **own)
        self.longest_running_worker = Gauge(
            "workqueue_longest_running_worker_seconds", "How long the slowest worker has worked on its job.", **own
        )
        self.watch_age = Gauge(
            "watch_age_seconds", "Seconds since the last event or bookmark over a watch.", ["resource"], **own
        )
        for failure_class in FailureClass:
            self.attempts.labels(failure_class.value)
        for result in ("progress", "none"):
            self.polls.labels(result)
        for resource in WATCHED:
            self.watch_events.labels(resource.plural)
