"""A job with what its plan decided filled in: its lanes, and its machines at one number of hosts. Pure."""

from typing import Any

from lateen_api.plan import Plan
from lateen_api.spec import ComputeSpec, LMTrainingJob


def with_spec(job: LMTrainingJob, **sections: Any) -> LMTrainingJob:
    """The job with other sections of its spec."""
    return job.model_copy(update={"spec": job.spec.model_copy(update=sections)})


def with_lanes(job: LMTrainingJob, lanes: int | None) -> LMTrainingJob:
    """The job with the lanes that its run began with, unless it names some itself or has none: on another number of
    hosts the plan might choose others, and with other lanes the losses have other bits."""
    trainer = job.spec.trainer
    if lanes is None or trainer.lanes is not None or trainer.reproducibility != "elastic":
        return job
    return with_spec(job, trainer=trainer.model_copy(update={"lanes": lanes}))


def fitted(compute: ComputeSpec, plan: Plan) -> ComputeSpec:
    """The machines as planned. Ranges are made to hold their number, so that a later plan of the job is not
    refused."""
    unit, number = ("slices", plan.slices) if plan.accelerator_kind == "tpu" else ("hosts", plan.hosts)
    update: dict[str, Any] = {unit: number}
    fewest, most = getattr(compute, f"min_{unit}"), getattr(compute, f"max_{unit}")
    if fewest is not None:
        update[f"min_{unit}"] = min(fewest, number)
    if most is not None:
        update[f"max_{unit}"] = max(most, number)
    if plan.accelerator_kind == "tpu":
        update["hosts"] = plan.hosts
    elif plan.accelerator_kind == "gpu":
        update["gpus_per_host"] = plan.devices_per_host
    else:
        update["devices_per_host"] = plan.devices_per_host
    return compute.model_copy(update=update)
