"""`lateen train`: one trainer process, as it runs in a pod."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from lateen_api.environment import PREFIX, ProcessEnvironment, ProcessEnvironmentError
from lateen_api.load import load_job
from lateen_api.masking import masked
from lateen_api.termination import ExitCode

from lateen_trainer import BEGAN
from lateen_trainer.processes import Lifecycle, leave


class _MaskingFormatter(logging.Formatter):
    """Masks secrets in URLs, also in what libraries log and in tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


@click.command()
@click.argument("job_file", type=click.Path(path_type=Path), required=False)
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Override a field of the job.")
def train(job_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Be one trainer process of the job in JOB_FILE, or in the file that LATEEN_JOB_FILE names.

    Who it is among the processes of an attempt is in LATEEN_* variables. `lateen run` starts as many of these
    as a job needs, and again when one dies.
    """
    _log_to_stderr()
    given = {} if job_file is None else {PREFIX + "JOB_FILE": str(job_file)}
    # Not sys.exit: jax's own shutdown would wait for peers that are gone.
    leave(run_process(_environment(given), overrides))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # What gcsfs logs with a traceback it raises as well, and our message says what to do.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    logging.getLogger("fsspec").setLevel(logging.WARNING)


def _environment(given: Mapping[str, str]) -> ProcessEnvironment:
    try:
        return ProcessEnvironment.from_environ({**os.environ, **given})
    except ProcessEnvironmentError as error:
        click.echo(error, err=True)
        sys.exit(ExitCode.USER_ERROR)


@click.command("prepare-data")
def prepare_data() -> None:
    """Tokenize the text of the job in the file that LATEEN_JOB_FILE names, beside others that do the same.

    What runs in a pod of spec.data.prepare. It serves /progress, and ends with code 0 when all caches are whole.
    """
    _log_to_stderr()
    leave(run_builder(_environment({})))


def run_builder(environment: ProcessEnvironment) -> ExitCode:
    """Builds the token caches of a job; how it ended."""
    with Lifecycle(environment, done="All text is tokenized.", ends_process=True) as life:
        from lateen_trainer.prepare_data import build_caches
        from lateen_trainer.report.reporter import Reporter

        job = load_job(environment.job_file)
        with Reporter(
            life, environment, steps=0, job=job.metadata.name, namespace=job.metadata.namespace or "", began=BEGAN
        ) as report:
            # Kubernetes numbers the pods of an Indexed Job by this variable.
            builder = int(os.environ.get("JOB_COMPLETION_INDEX") or 0)
            build_caches(job.spec, Path(environment.run_dir), report, builder=builder)
    return life.exit_code


def run_process(environment: ProcessEnvironment, overrides: tuple[str, ...] = ()) -> ExitCode:
    """Trains as one process of an attempt; how it ended."""

    with Lifecycle(environment, ends_process=True) as life:
        from lateen_api.hugging_face.initial_model import with_initial_model
        from lateen_api.plan import make_plan

        from lateen_trainer.report.reporter import Reporter
        from lateen_trainer.train import train as train_job

        job = with_initial_model(load_job(environment.job_file, overrides))
        plan = make_plan(job, hosts=environment.process_count)
        on_cpu = plan.accelerator_kind == "cpu"
        with Reporter(
            life,
            environment,
            steps=job.spec.trainer.num_train_steps,
            job=job.metadata.name,
            namespace=job.metadata.namespace or "",
            began=BEGAN,
        ) as report:
            peers = life.join(
                job.spec.recovery,
                devices_per_host=plan.devices_per_host if on_cpu else None,
                cpu_threads=plan.cpu_threads,
            )
            train_job(job, environment, life, peers, report)
    return life.exit_code
