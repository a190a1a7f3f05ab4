"""The environment of a trainer: who it is (lateen_api.environment), what its accelerator needs, what the job adds."""

import re
from collections.abc import Mapping
from typing import Any

from lateen_api.environment import HUGE_PAGES, PREFIX, ProcessEnvironment
from lateen_api.errors import JobError
from lateen_api.plan import Plan
from lateen_api.spec import ComputeSpec, JobSpec
from lateen_api.wording import show

from lateen_operator import names
from lateen_operator.manifests.gpu_network import network_variables
from lateen_operator.manifests.storage import JOB_FOLDER, programs_dir, run_dir

TERMINATION_LOG = "/dev/termination-log"
HOME = "/tmp"
"""The only place of the image's user that can be written to."""

_MEGASCALE = "MEGASCALE_"
_COMPILED = "LATEEN_COMPILATION_CACHE"
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_FROM_LABEL: Mapping[str, str] = {
    "SLICE_INDEX": names.JOB_INDEX_LABEL,
    "HOST_INDEX": names.COMPLETION_INDEX_LABEL,
}


def variables(
    spec: JobSpec, plan: Plan, attempt: str, number: int, metrics_port: int, *, checkpoint_step: int | None = None
) -> list[dict[str, Any]]:
    """`env` of the trainer's container.

    Args:
        spec: of the job.
        plan: at the attempt's hosts.
        attempt: name of the attempt.
        number: of the attempt.
        metrics_port: of /metrics, /healthz and /progress.
        checkpoint_step: of the last checkpoint that earlier attempts are known to have committed.
    """
    process = ProcessEnvironment(
        job_file=f"{JOB_FOLDER}/{names.JOB_KEY}",
        attempt=number,
        slices=plan.slices,
        hosts_per_slice=plan.hosts_per_slice,
        coordinator=names.coordinator(attempt),
        metrics_port=metrics_port,
        run_dir=run_dir(spec.checkpoint.path),
        termination_log=TERMINATION_LOG,
        checkpoint_step=checkpoint_step,
    )
    told = process.to_environ()
    by_label = [_from_label(PREFIX + name, label) for name, label in _FROM_LABEL.items()]
    fixed = {name: value for name, value in told.items() if name.removeprefix(PREFIX) not in _FROM_LABEL}
    chosen = _defaults(spec, plan) | spec.compute.env
    return [
        *by_label,
        *({"name": name, "value": value} for name, value in fixed.items()),
        *_megascale(plan, attempt),
        *({"name": name, "value": value} for name, value in chosen.items()),
    ]


def is_own_variable(name: str) -> bool:
    """Is the environment variable the operator's to set?"""
    return name.startswith((PREFIX, _MEGASCALE)) and name != _COMPILED


def check_environment(compute: ComputeSpec) -> list[JobError]:
    """Variables that no process can have, or that are the operator's."""
    errors = []
    for name, value in compute.env.items():
        where = f"spec.compute.env.{name}"
        if _VARIABLE.fullmatch(name) is None:
            errors.append(
                JobError(where, f"{show(name)} is no name of a variable: expected letters, digits and '_'. Correct it.")
            )
        elif is_own_variable(name):
            errors.append(JobError(where, f"{show(value)} is set, but the operator sets this variable. Remove it."))
    return errors


def _defaults(spec: JobSpec, plan: Plan) -> dict[str, str]:
    """Variables that the job may set otherwise."""
    # jax takes whatever it finds unless it is told: a host without its accelerator would train on its cores.
    platforms = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu,cpu"}
    chosen = {"HOME": HOME, "JAX_PLATFORMS": platforms[plan.accelerator_kind]}
    if spec.checkpoint.path is not None:
        chosen[_COMPILED] = programs_dir(spec.checkpoint.path)
    if plan.accelerator_kind == "cpu":
        chosen |= HUGE_PAGES
    if plan.accelerator_kind == "tpu" and plan.slices > 1:
        # Without it, slices that wait for one that is gone do so in silence.
        chosen["LIBTPU_INIT_ARGS"] = "--megascale_abort_on_hangs=true"
    return chosen | network_variables(plan)


def _megascale(plan: Plan, attempt: str) -> list[dict[str, Any]]:
    """How TPU slices find each other. GKE would inject it, too, but counts pods that are still leaving."""
    if plan.accelerator_kind != "tpu" or plan.slices == 1:
        return []
    return [
        {"name": f"{_MEGASCALE}NUM_SLICES", "value": str(plan.slices)},
        _from_label(f"{_MEGASCALE}SLICE_ID", names.JOB_INDEX_LABEL),
        {"name": f"{_MEGASCALE}COORDINATOR_ADDRESS", "value": names.pod_host(attempt, 0, 0)},
        {"name": f"{_MEGASCALE}PORT", "value": str(names.MEGASCALE_PORT)},
    ]


def _from_label(name: str, label: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}}}
