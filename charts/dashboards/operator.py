"""The dashboard of the operator itself: does it hear, decide and write."""

from dashboards.dashboard import Dashboard, Row
from dashboards.panels import GREEN, RED, YELLOW, Query, stat, timeseries

_IS_OPERATOR = "and on (instance, job) lateen_operator_workqueue_depth"


def _rate(counter: str, by: str = "") -> str:
    return f"sum{by} (rate(lateen_operator_{counter}[$__rate_interval]))"


def _quantiles(histogram: str) -> list[Query]:
    """Median and 99th percentile."""
    return [
        Query(f"histogram_quantile({quantile}, {_rate(f'{histogram}_bucket', ' by (le)')})", legend)
        for quantile, legend in ((0.5, "median"), (0.99, "99th percentile"))
    ]


_NOW = Row(
    "Now",
    [
        stat(
            "Up",
            "Operators that are scraped. Exactly one: none, and no job is restarted; two decide against each other.",
            "count(lateen_operator_workqueue_depth) or vector(0)",
            thresholds=((0, RED), (1, GREEN), (2, RED)),
        ),
        stat(
            "Errors per minute",
            "Reconciliations that raised an error. Each is tried again, with a growing delay.",
            "60 * (sum(rate(lateen_operator_reconcile_errors_total[$__rate_interval])) or vector(0))",
            decimals=1,
            thresholds=((0, GREEN), (0.1, YELLOW), (6, RED)),
        ),
        stat(
            "Jobs that wait for a worker",
            "Depth of the work queue. Above 0 for long: too few workers, or a slow API server.",
            "max(lateen_operator_workqueue_depth)",
            thresholds=((0, GREEN), (50, YELLOW), (500, RED)),
        ),
        stat(
            "Slowest worker",
            "How long the slowest worker has worked on its job. Above a minute: the API server does not answer.",
            "max(lateen_operator_workqueue_longest_running_worker_seconds)",
            unit="s",
            thresholds=((0, GREEN), (30, YELLOW), (300, RED)),
        ),
        stat(
            "Oldest watch",
            "Since the last event or bookmark over the quietest watch. The API server sends a bookmark each minute.",
            "max(lateen_operator_watch_age_seconds)",
            unit="s",
            thresholds=((0, GREEN), (300, YELLOW), (600, RED)),
        ),
        stat(
            "Running since",
            "Age of the operator's process.",
            f"time() - max(process_start_time_seconds {_IS_OPERATOR})",
            unit="s",
            thresholds=((0, YELLOW), (300, GREEN)),
        ),
    ],
)

_WORK = Row(
    "Reconciliations",
    [
        timeseries(
            "Reconciliations and status updates",
            "Per second.",
            Query(_rate("reconcile_duration_seconds_count"), "reconciliations"),
            Query(_rate("status_patches_total"), "status updates"),
            unit="ops",
            minimum=0,
        ),
        timeseries(
            "Duration of a reconciliation",
            "Of one job, requests to the API server included.",
            *_quantiles("reconcile_duration_seconds"),
            unit="s",
            minimum=0,
        ),
        timeseries(
            "Errors",
            "Reconciliations that raised an error, per second, by the error's type. The operator's log has the job.",
            Query(_rate("reconcile_errors_total", " by (error)"), "{{error}}"),
            unit="ops",
            minimum=0,
            bars=True,
            stacked=True,
        ),
        timeseries(
            "Work queue",
            "Jobs that wait for a worker.",
            Query("max(lateen_operator_workqueue_depth)", "jobs"),
            minimum=0,
        ),
    ],
)

_API = Row(
    "API server and trainers",
    [
        timeseries(
            "Requests by code",
            "Per second. 409: a conflict, tried again. 403: a right is missing. 429 and 5xx: the API server is short "
            "of something.",
            Query(_rate("api_requests_total", " by (code)"), "{{code}}"),
            unit="reqps",
            stacked=True,
            minimum=0,
        ),
        timeseries(
            "Requests by verb",
            "Per second.",
            Query(_rate("api_requests_total", " by (verb)"), "{{verb}}"),
            unit="reqps",
            stacked=True,
            minimum=0,
        ),
        timeseries(
            "Duration of a request",
            "Watches excluded.",
            *_quantiles("api_request_duration_seconds"),
            unit="s",
            minimum=0,
        ),
        timeseries(
            "Age of watches",
            "Since the last event or bookmark. A line that keeps rising: this kind of object is not seen any more.",
            Query("max by (resource) (lateen_operator_watch_age_seconds)", "{{resource}}"),
            unit="s",
            minimum=0,
            thresholds=((0, GREEN), (600, RED)),
        ),
        timeseries(
            "Events received over watches",
            "Per second.",
            Query(_rate("watch_events_total", " by (resource)"), "{{resource}}"),
            unit="ops",
            minimum=0,
        ),
        timeseries(
            "Progress polls of process 0",
            "Per second, by result. Many `none`: trainers do not answer, or a network policy is in the way.",
            Query(_rate("progress_polls_total", " by (result)"), "{{result}}"),
            unit="ops",
            minimum=0,
        ),
    ],
)

_PROCESS = Row(
    "Process",
    [
        timeseries(
            "CPU",
            "Cores.",
            Query(f"rate(process_cpu_seconds_total[$__rate_interval]) {_IS_OPERATOR}", "{{instance}}"),
            unit="none",
            minimum=0,
            width=8,
        ),
        timeseries(
            "Memory",
            "Resident. The chart's limit is 512 MiB; 1,000 jobs need about 150 MB.",
            Query(f"process_resident_memory_bytes {_IS_OPERATOR}", "{{instance}}"),
            unit="bytes",
            minimum=0,
            width=8,
        ),
        timeseries(
            "Open files",
            "Each watch and each connection is one.",
            Query(f"process_open_fds {_IS_OPERATOR}", "{{instance}}"),
            minimum=0,
            width=8,
        ),
    ],
)

OPERATOR = Dashboard(
    uid="lateen-operator",
    title="lateen / Operator",
    description="The operator: reconciliations, requests to the API server, watches and its own process.",
    variables=[],
    rows=[_NOW, _WORK, _API, _PROCESS],
)
