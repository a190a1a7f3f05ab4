"""`lateen status`, `logs`, `stop` and `resume`: options in, exit code out."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

import click
from lateen_api.spec.section import duration_seconds

from lateen_operator.commands.errors import CommandError

STOPPED_BY_CTRL_C = 130


def _in_a_cluster(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds JOB and the options that say where it is, and turns errors into a line and an exit code."""

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        try:
            command(**arguments)
        except CommandError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            sys.exit(STOPPED_BY_CTRL_C)

    options = [
        click.argument("job"),
        click.option("-n", "--namespace", help="Namespace of the job. Default: the context's."),
        click.option("--context", help="Context of the kubeconfig. Default: its current one."),
        click.option("--kubeconfig", type=click.Path(path_type=Path), help="Kubeconfig file. Default: as for kubectl."),
    ]
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), run)


@click.command()
@_in_a_cluster
@click.option("-w", "--watch", is_flag=True, help="Go on until the job has ended.")
@click.option("-o", "--output", type=click.Choice(["page", "json"]), default="page", show_default=True)
def status(
    job: str,
    namespace: str | None,
    context: str | None,
    kubeconfig: Path | None,
    watch: bool,
    output: Literal["page", "json"],
) -> None:
    """Show how JOB is: progress, what keeps it, and why its attempts ended."""
    from rich.console import Console

    from lateen_operator.commands.cluster import connect
    from lateen_operator.commands.status import show_status, watch_status

    if watch and output == "json":
        raise click.UsageError("--watch and -o json do not go together: ask again and again, or watch the page.")
    cluster = connect(kubeconfig, context, namespace)
    console = Console()
    if watch:
        sys.exit(watch_status(cluster, job, console=console))
    show_status(cluster, job, as_json=output == "json", console=console)


@click.command()
@_in_a_cluster
@click.option(
    "--process", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the process, one per host."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written, in later attempts, too.")
@click.option("--attempt", type=click.IntRange(min=1), help="Number of the attempt. Default: the newest.")
@click.option("--previous", is_flag=True, help="The attempt before the newest.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Only so many of the last lines.")
def logs(
    job: str,
    namespace: str | None,
    context: str | None,
    kubeconfig: Path | None,
    process: int,
    follow: bool,
    attempt: int | None,
    previous: bool,
    tail: int | None,
) -> None:
    """Print what a trainer of JOB wrote."""
    from lateen_operator.commands.cluster import connect
    from lateen_operator.commands.logs import Logs, print_logs

    if previous and attempt is not None:
        raise click.UsageError("--previous and --attempt do not go together: give one of them.")
    wanted = Logs(process, attempt, previous, follow, tail)
    print_logs(connect(kubeconfig, context, namespace), job, wanted, sys.stdout.buffer, _say)


@click.command()
@_in_a_cluster
@click.option("--no-wait", is_flag=True, help="Do not wait until it has stopped.")
@click.option("--timeout", default="10m", show_default=True, help="How long to wait until it has stopped.")
def stop(
    job: str, namespace: str | None, context: str | None, kubeconfig: Path | None, no_wait: bool, timeout: str
) -> None:
    """Let JOB save and free its machines. `lateen resume` goes on from there."""
    from lateen_operator.commands.cluster import connect
    from lateen_operator.commands.suspend import stop as stop_job

    try:
        seconds = duration_seconds(timeout)
    except ValueError as error:
        raise click.BadParameter(f"{timeout!r} is not valid: {error}.", param_hint="--timeout") from error
    stop_job(connect(kubeconfig, context, namespace), job, timeout=None if no_wait else seconds, say=_say)


@click.command()
@_in_a_cluster
def resume(job: str, namespace: str | None, context: str | None, kubeconfig: Path | None) -> None:
    """Let a stopped JOB go on from its last checkpoint."""
    from lateen_operator.commands.cluster import connect
    from lateen_operator.commands.suspend import resume as resume_job

    resume_job(connect(kubeconfig, context, namespace), job, say=_say)


def _say(message: str) -> None:
    click.echo(message, err=True)


def _fail(message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(exit_code)
