"""`lateen run`: options in, exit code out. What happens in between is in `command`."""

from pathlib import Path

import click

EPILOG = """\
Exit codes: 0 complete; 130 stopped by Ctrl-C, 143 by SIGTERM (the same command goes on); 40 the job cannot
run as written; otherwise the code with which the trainer failed.
"""


@click.command(epilog=EPILOG)
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--hosts", type=click.IntRange(min=1), metavar="N", help="Train on N processes instead of the job's.")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the run. Default: runs/<name of the job>.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Set a field of the job, such as spec.trainer.seed=3. May be repeated.",
)
@click.option("--fresh", is_flag=True, help="Start over. An earlier run's folder is renamed, not deleted.")
@click.option("--dry-run", is_flag=True, help="Show what the job would run on, and create nothing.")
@click.option(
    "--plain",
    "--no-progress",
    is_flag=True,
    help="Write plain lines instead of a live display. Without a terminal that is so anyway.",
)
def run(
    job: Path,
    hosts: int | None,
    run_dir: Path | None,
    overrides: tuple[str, ...],
    fresh: bool,
    dry_run: bool,
    plain: bool,
) -> None:
    """Train JOB, the YAML file of an LMTrainingJob, on this machine.

    Every host of the job is a process here. What fails is started again from the last checkpoint; the same
    command, given later, goes on where the run stands.
    """
    from lateen_operator.local.command import Options, run_command

    raise SystemExit(run_command(Options(job, hosts, run_dir, overrides, fresh, dry_run, plain)))
