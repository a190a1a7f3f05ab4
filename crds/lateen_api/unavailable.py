"""What the spec can say but this version cannot do yet. A feature that arrives is a line that goes."""

from lateen_api.errors import JobError
from lateen_api.spec import JobSpec


def check_available(spec: JobSpec) -> list[JobError]:
    """One error for each field that asks for what this version cannot do."""
    tracking = spec.tracking
    wanted = [
        (tracking.wandb, "tracking.wandb", "leave it out; metrics.jsonl and Prometheus have the same figures"),
        (tracking.tensorboard, "tracking.tensorboard", "leave it out; metrics.jsonl has the same figures"),
    ]
    return [
        JobError(f"spec.{field}", f"is not available in this version: {remedy}.")
        for asked, field, remedy in wanted
        if asked
    ]
