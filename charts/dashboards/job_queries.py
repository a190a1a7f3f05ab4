"""Queries over the series of one job: the variables `namespace` and `training_job` say which."""

_OF_JOB = 'training_job_namespace="$namespace", training_job="$training_job"'
JOB_LABELS = f"{{{_OF_JOB}}}"


def of_trainers(name: str, *matchers: str) -> str:
    """Series of the job's processes."""
    return f"lateen_trainer_{name}{{{', '.join((_OF_JOB, *matchers))}}}"


def agreed(name: str) -> str:
    """A number that all processes agree on: one line, also where two attempts overlap."""
    return f"max({of_trainers(name)})"


def share_of_time(counter: str) -> str:
    """Part of the time, mean over processes."""
    return f"avg(rate({of_trainers(counter)}[$__rate_interval]))"


def mean_step(by: str = "") -> str:
    """Seconds per step. `by` is a clause such as ` by (process)`."""
    total = f"rate({of_trainers('step_duration_seconds_sum')}[$__rate_interval])"
    count = f"rate({of_trainers('step_duration_seconds_count')}[$__rate_interval])"
    return f"sum{by} ({total}) / (sum{by} ({count}) > 0)"
