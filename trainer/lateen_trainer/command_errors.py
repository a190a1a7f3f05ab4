"""How a command ends on an error that a person can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from lateen_api.errors import JobError

from lateen_trainer.errors import TrainerError


@contextmanager
def exit_codes() -> Iterator[None]:
    """Prints the error's message, without a traceback, and ends the process with its exit code."""
    try:
        yield
    except (TrainerError, JobError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(int(error.exit_code))
