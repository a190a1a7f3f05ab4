"""The compilation behind `lateen plan --compile`, in a process of the trainer's."""

import importlib.util
import json
import os
import subprocess
import sys

from lateen_api.errors import JobError
from lateen_api.plan import Plan
from lateen_api.plan.compiled import Compiled
from lateen_api.spec import LMTrainingJob

_MODULE = "lateen_trainer.rehearsal"

_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",  # devices are described to the compiler; none is opened
    "JAX_ENABLE_COMPILATION_CACHE": "false",  # else a second call would time the reading of a file
    "TPU_SKIP_MDS_QUERY": "1",  # libtpu would ask Google's metadata server which TPU this machine is
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # one process per machine may use its TPUs; this one only compiles
    "CUDA_VISIBLE_DEVICES": "-1",
}


def compile_plan(job: LMTrainingJob, plan: Plan) -> Compiled:
    """The job's step compiled for the devices of its plan. Minutes for a large model.

    Raises:
        JobError: the trainer or the compiler is not installed, or the step cannot be compiled.
    """
    missing = [name for name in ("lateen_trainer", "jax", "haliax") if importlib.util.find_spec(name) is None]
    if missing:
        raise JobError(
            "--compile",
            f"needs the trainer, and {missing[0]} is not installed: expected lateen with its extra trainer. "
            "Install it: pip install 'lateen[trainer]'.",
        )
    request = {
        "job": job.model_dump(mode="json", by_alias=True),
        "plan": plan.model_dump(mode="json", by_alias=True),
    }
    process = subprocess.run(
        [sys.executable, "-m", _MODULE],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **_ENVIRONMENT},
    )
    lines = process.stdout.splitlines()
    if process.returncode or not lines:
        tail = "\n".join(process.stderr.strip().splitlines()[-12:])
        raise JobError(
            "--compile",
            f"the compilation ended with code {process.returncode} and no result: expected 0. Its last lines:\n{tail}",
        )
    answer = json.loads(lines[-1])
    if "error" in answer:
        where, _, message = answer["error"].partition(": ")
        raise JobError(where, message)
    return Compiled.model_validate(answer)
