"""The plan in short, as the job's status keeps it."""

from lateen_api.plan import Plan
from lateen_api.status import HOST_COUNTS_KEPT, WARNINGS_KEPT, PlanStatus


def plan_status(plan: Plan) -> PlanStatus:
    """What of a plan stands in the status."""
    return PlanStatus(
        accelerator=plan.accelerator,
        mesh=f"{plan.mesh.data}x{plan.mesh.model}",
        devices=plan.devices,
        microbatch=plan.microbatch,
        accumulation_steps=plan.accumulation_steps,
        lanes=plan.lanes,
        parameters=plan.parameters,
        tokens_per_step=plan.tokens_per_step,
        host_counts=plan.host_counts[:HOST_COUNTS_KEPT],
        warnings=plan.warnings[:WARNINGS_KEPT],
    )
