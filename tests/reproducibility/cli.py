"""The commands of `python -m reproducibility`."""

import signal
import sys
from pathlib import Path

import click

from reproducibility.cases import all_cases
from reproducibility.results import Results
from reproducibility.table import DOCUMENT, write_table

WORK = Path.home() / ".cache" / "lateen" / "reproducibility"


@click.group()
def main() -> None:
    """The same training in all layouts and with all faults, compared bit by bit."""


@main.command()
@click.option("--only", default="", metavar="TEXT", help="Only cases with this in their name, float32-tp1-2x4 say.")
@click.option("--again/--missing", default=True, help="All again, or only those that have no result yet.")
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Folder for results.")
def run(only: str, again: bool, work: Path) -> None:
    """Run cases. Exit code 1 if one is not equal."""
    # As Ctrl-C does: trainers that are at work are ended on the way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    results = Results(work)
    cases = [case for case in all_cases() if only in str(case)]
    unequal = 0
    for case in cases:
        if again or results.read(case) is None:
            result = results.run(case)
            click.echo(f"{case}: {results.verdict(case)} ({result.seconds:.0f} s)")
            if result.error is not None:
                click.echo(result.error)
        unequal += results.verdict(case) not in ("equal", "reference")
    click.echo(f"{len(cases) - unequal} of {len(cases)} are as they should be.")
    sys.exit(1 if unequal else 0)


@main.command()
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Folder of results.")
def table(work: Path) -> None:
    """Write the results into docs/reproducibility.md."""
    write_table(Results(work))
    click.echo(DOCUMENT)
