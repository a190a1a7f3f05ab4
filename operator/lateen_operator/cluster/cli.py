"""`lateen operator`: options in, exit code out."""

from typing import Any, Literal

import click

from lateen_operator.settings import OperatorSettings, settings_options


@click.command()
@settings_options
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or one JSON object per line.",
)
@click.option("--verbose", is_flag=True, help="Log every progress poll and every restart of a watch, too.")
def operator(log_format: Literal["text", "json"], verbose: bool, **settings: Any) -> None:
    """Run the LMTrainingJobs of a Kubernetes cluster.

    In a pod it uses the pod's service account, elsewhere a kubeconfig. Run one at a time: two would do each other's
    work, though they lose none. It may be stopped and started at any time: jobs go on without it.
    """
    import asyncio

    from lateen_operator.cluster.client import ApiError
    from lateen_operator.cluster.connection import ConnectionFailed
    from lateen_operator.cluster.logs import log_to_stderr
    from lateen_operator.cluster.operator import run_operator
    from lateen_operator.cluster.resync import KindMissing

    log_to_stderr(log_format, verbose=verbose)
    try:
        asyncio.run(run_operator(OperatorSettings(**settings)))
    except (ApiError, ConnectionFailed, KindMissing) as error:
        raise click.ClickException(str(error)) from error
