"""The dashboard of all jobs: what runs, what waits, what goes wrong."""

from dashboards.dashboard import Annotation, Dashboard, Row, Variable
from dashboards.panels import BLUE, GREEN, RED, YELLOW, Query, column, stat, table, timeseries

OWNER = "training_job_namespace, training_job"
NAMESPACES = '{training_job_namespace=~"$namespace"}'
RUNNING = "Starting|Tokenizing|Restoring|Compiling|WaitingForData|Training|Evaluating|Saving|Exporting"

_INFO = "lateen_operator_job_info"
_GOODPUT = (
    f"sum(lateen_operator_job_goodput_ratio{NAMESPACES} * on ({OWNER}) lateen_operator_job_devices{NAMESPACES}) "
    f"/ (sum(lateen_operator_job_devices{NAMESPACES}) > 0)"
)


_CHECKPOINT_AGE = f"time() - lateen_operator_job_checkpoint_timestamp_seconds{NAMESPACES}"


def _jobs_in(states: str) -> str:
    """Jobs in these states; 0 where there are none."""
    return f'count({_INFO}{{training_job_namespace=~"$namespace", state=~"{states}"}}) or vector(0)'


def _with_state(metric: str) -> str:
    """A gauge of jobs, with the state as one more label, for jobs that are not at their end."""
    running = f'{_INFO}{{training_job_namespace=~"$namespace", state!~"Complete|Failed|Suspended"}}'
    return f"max by ({OWNER}, state) ({metric} * on ({OWNER}) group_left (state) {running})"


_NOW = Row(
    "Now",
    [
        stat("Running", "Jobs that have an attempt with all processes up.", _jobs_in(RUNNING)),
        stat(
            "Queued",
            "Jobs that wait for admission by their queue, or for machines. `kubectl describe lmtj` says which.",
            _jobs_in("Queued"),
            thresholds=((0, GREEN), (1, YELLOW)),
        ),
        stat(
            "Stopped by an error",
            "Jobs in the states Refused, Blocked or Failed. They do not go on by themselves, except for Blocked ones.",
            _jobs_in("Refused|Blocked|Failed"),
            thresholds=((0, GREEN), (1, RED)),
        ),
        stat("Devices in use", "JAX devices of all present attempts.", f"sum(lateen_operator_job_devices{NAMESPACES})"),
        stat(
            "Goodput",
            "Part of the time on machines that went into steps that count, weighted by the jobs' devices. "
            "The rest is starting, compiling, restoring, saving, waiting for data and steps trained again.",
            _GOODPUT,
            unit="percentunit",
            decimals=1,
            thresholds=((0, RED), (0.7, YELLOW), (0.9, GREEN)),
        ),
        stat(
            "Tokens per second",
            "Tokens per second of all jobs, as their process 0 tells.",
            f"sum(max by ({OWNER}) (lateen_trainer_tokens_per_second{NAMESPACES}))",
        ),
    ],
)

_JOBS = Row(
    "Jobs",
    [
        timeseries(
            "Jobs by state",
            "All LMTrainingJobs of the chosen namespaces.",
            Query(f"count by (state) ({_INFO}{NAMESPACES})", "{{state}}"),
            stacked=True,
            minimum=0,
            decimals=0,
        ),
        timeseries(
            "Queued by reason",
            "WaitingForAdmission: a queue is full, which is what queues are for. WaitingForMachines: pods have no "
            "node. QueueInadmissible and QueueNotServed: the queue has to be fixed.",
            Query(f"count by (reason) (lateen_operator_job_queued{NAMESPACES})", "{{reason}}"),
            stacked=True,
            minimum=0,
            decimals=0,
        ),
        timeseries(
            "Devices in use by accelerator",
            "JAX devices of present attempts. How many devices are idle only the cluster knows: compare with the "
            "allocatable resources of its nodes.",
            Query(
                f"sum by (accelerator) (lateen_operator_job_devices{NAMESPACES} * on ({OWNER}) "
                f"group_left (accelerator) {_INFO}{NAMESPACES})",
                "{{accelerator}}",
            ),
            stacked=True,
            minimum=0,
        ),
        table(
            "Jobs that are not at their end",
            "One line per job. Checkpoint age is what a failure now would cost.",
            Query(_with_state(f"lateen_operator_job_step{NAMESPACES}"), instant=True),
            Query(
                _with_state(
                    f"(lateen_operator_job_step{NAMESPACES} / (lateen_operator_job_target_steps{NAMESPACES} > 0))"
                ),
                instant=True,
            ),
            Query(_with_state(f"lateen_operator_job_devices{NAMESPACES}"), instant=True),
            Query(_with_state(f"lateen_operator_job_goodput_ratio{NAMESPACES}"), instant=True),
            Query(_with_state(f"({_CHECKPOINT_AGE})"), instant=True),
            Query(_with_state(f"lateen_operator_job_attempts_total{NAMESPACES}"), instant=True),
            names={
                "training_job_namespace": "namespace", "training_job": "job", "Value #A": "step", "Value #B": "done",
                "Value #C": "devices", "Value #D": "goodput", "Value #E": "checkpoint age", "Value #F": "attempts",
            },
            overrides=[
                column("done", "percentunit"),
                column("goodput", "percentunit", ((0, RED), (0.7, YELLOW), (0.9, GREEN))),
                column("checkpoint age", "s", ((0, GREEN), (3600, YELLOW), (14400, RED))),
            ],
            height=10,
        ),
    ],
)  # fmt: skip

_TROUBLE = Row(
    "Interruptions",
    [
        timeseries(
            "Attempts that ended, by failure class",
            "Per hour. Planned: preempted or evicted. Infrastructure: a machine, its memory or network. User, Data, "
            "Numerical: the job itself. Requested: suspended, resized or changed. Of all namespaces.",
            Query("sum by (failure_class) (increase(lateen_operator_attempts_ended_total[1h]))", "{{failure_class}}"),
            stacked=True,
            minimum=0,
        ),
        timeseries(
            "Recovery time",
            "From the end of an attempt to the next completed step of its job, over the last 6 h. Of all namespaces.",
            *[
                Query(
                    f"histogram_quantile({quantile}, sum by (le) "
                    "(rate(lateen_operator_recovery_duration_seconds_bucket[6h])))",
                    legend,
                )
                for quantile, legend in ((0.5, "median"), (0.95, "95th percentile"))
            ],
            unit="s",
            minimum=0,
            thresholds=((0, GREEN), (300, RED)),
        ),
        timeseries(
            "Goodput by job, the lowest ten",
            "Part of the time on machines that went into steps that count. Low at first: starting and compiling.",
            Query(
                f"bottomk(10, lateen_operator_job_goodput_ratio{NAMESPACES})",
                "{{training_job_namespace}}/{{training_job}}",
            ),
            unit="percentunit",
            minimum=0,
            maximum=1,
            thresholds=((0, RED), (0.7, YELLOW), (0.9, GREEN)),
        ),
        timeseries(
            "Lost time",
            "Job hours per hour that did not go into steps that count, by activity; suspension is left out. "
            "Waiting for a queue or for machines is no loss of goodput.",
            Query(
                "sum by (activity) (rate(lateen_operator_job_seconds_total"
                '{training_job_namespace=~"$namespace", activity!~"training|suspended"}[30m]))',
                "{{activity}}",
            ),
            stacked=True,
            minimum=0,
        ),
        timeseries(
            "Failures by job",
            "Attempts of the last hour that ended by a failure, the ten jobs with most of them.",
            Query(
                f"topk(10, sum by ({OWNER}) (increase(lateen_operator_job_attempts_ended_total"
                '{training_job_namespace=~"$namespace", failure_class=~"Infrastructure|User|Data|Numerical"}[1h])))',
                "{{training_job_namespace}}/{{training_job}}",
            ),
            minimum=0,
            thresholds=((0, GREEN), (3, RED)),
        ),
        table(
            "Alerts that fire",
            "Alerts of lateen's rules. Each has a runbook in docs/runbooks/.",
            Query('ALERTS{alertname=~"Lateen.*", alertstate="firing"}', instant=True),
            width=12,
        ),
    ],
)

FLEET = Dashboard(
    uid="lateen-fleet",
    title="lateen / Fleet",
    description="All training jobs: state, devices, goodput, interruptions and recovery.",
    variables=[
        Variable(
            "namespace",
            "Namespace",
            "label_values(lateen_operator_job_info, training_job_namespace)",
            several=True,
        )
    ],
    rows=[_NOW, _JOBS, _TROUBLE],
    annotations=[
        Annotation(
            "Operator started",
            "changes(process_start_time_seconds[1m]) > 0 and on (instance, job) lateen_operator_workqueue_depth",
            "The operator started",
            BLUE,
        )
    ],
    time_from="now-24h",
)
