"""`lateen report`: options in, exit code out."""

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The page. Default: report.html in RUN.",
)
@click.option(
    "--job",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The job of a cluster, as `kubectl get lmtj NAME -o json` prints it: its configuration and attempts.",
)
def report(run: Path, out: Path | None, job: Path | None) -> None:
    """Write RUN as one HTML page: losses, speed, attempts, where the time went, configuration.

    RUN is the folder of a `lateen run`, also while it works, or a folder with the metrics.jsonl of a job in a
    cluster. The page needs nothing else: no server, no network. Secrets are masked.
    """
    from lateen_operator.html_report.command import run_command

    raise SystemExit(run_command(run, out, job))
