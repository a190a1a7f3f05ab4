"""`python -m lateen_trainer.rehearsal`: job and plan as JSON on stdin, what the compiler made of the step on stdout.

A process of its own, whose environment `lateen plan --compile` sets up: jax reads it once, and what compilers print
would spoil the command's own output.
"""

import json
import sys

from lateen_api.plan import Plan
from lateen_api.spec import LMTrainingJob
from lateen_api.termination import ExitCode

from lateen_trainer.errors import UserError
from lateen_trainer.processes.numerics import pin_numerics
from lateen_trainer.rehearsal.compile import compile_step
from lateen_trainer.rehearsal.devices import described_devices


def main() -> None:
    """Exits with 0 and a line of JSON: a `Compiled`, or `{"error": …}` for what a person can mend."""
    request = json.load(sys.stdin)
    job, plan = LMTrainingJob.model_validate(request["job"]), Plan.model_validate(request["plan"])
    pin_numerics()
    try:
        devices = described_devices(plan, job.spec.compute.topology)
        answer = compile_step(job.spec, plan, devices).model_dump_json(by_alias=True)
    except UserError as error:
        answer = json.dumps({"error": str(error)})
    print(f"\n{answer}", flush=True)
    sys.exit(ExitCode.DONE)


if __name__ == "__main__":
    main()
