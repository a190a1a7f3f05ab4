"""The operator's own figures, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_ROUND_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECOVERY_BUCKETS = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 600.0, 1800.0)


class Metrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry, "namespace": "lateen_operator"}
        ProcessCollector(registry=self.registry)
        self.rounds = Histogram(
            "reconcile_seconds", "Time of one look at a job, API calls included.", buckets=_ROUND_BUCKETS, **own
        )
        self.errors = Counter("reconcile_errors", "Looks at a job that failed and are repeated.", ["error"], **own)
        self.attempts = Counter("attempts_ended", "Attempts that ended, by kind of end.", ["kind"], **own)
        self.recovery = Histogram(
            "recovery_seconds", "From an attempt's end to the next one's first step.", buckets=_RECOVERY_BUCKETS, **own
        )
        self.jobs = Gauge("jobs", "Jobs, by state.", ["state"], **own)
        self.requests = Counter("api_requests", "Requests to the API server.", ["verb", "code"], **own)
        self.request_seconds = Histogram(
            "api_request_seconds", "Time of a request to the API server, watches aside.", buckets=_ROUND_BUCKETS, **own
        )
        self.status_patches = Counter("status_patches", "Statuses written.", **own)
        self.watch_events = Counter("watch_events", "Events of watches.", ["resource"], **own)
        self.polls = Counter("progress_polls", "Questions to process 0 of attempts.", ["answer"], **own)
        self.queue_depth = Gauge("queue_depth", "Jobs that wait for a worker.", **own)
        self.slowest_worker = Gauge("slowest_worker_seconds", "Since when the slowest worker has had its job.", **own)
        self.watch_age = Gauge(
            "watch_age_seconds", "Since when a watch has given no sign of life.", ["resource"], **own
        )

    def read_on_demand(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Lets a gauge be read whenever somebody looks."""
        gauge.set_function(read)
