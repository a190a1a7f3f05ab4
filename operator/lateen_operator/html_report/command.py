"""What `lateen report` does, from a run's folder to the exit code."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from lateen_api import os_errors
from lateen_api.errors import JobError
from lateen_api.files import replace_text
from lateen_api.termination import ExitCode
from lateen_api.yaml_reader import read_documents

from lateen_operator import wording
from lateen_operator.html_report.folder import read_run
from lateen_operator.html_report.page import page

PAGE = "report.html"
_ELSEWHERE = "choose another file with --out"


def run_command(folder: Path, out: Path | None, job: Path | None) -> int:
    """Runs the command; returns its exit code.

    Args:
        folder: of the run.
        out: the page; None: report.html in the folder.
        job: file of a job in a cluster.
    """
    out = folder / PAGE if out is None else out
    try:
        run = read_run(folder, None if job is None else _read_job(job), now=time.time())
        replace_text(out, page(run, version("lateen")))
    except JobError as error:
        for line in error.errors:
            click.echo(f"error: {wording.printable(str(line))}", err=True)
        return ExitCode.USER_ERROR
    except OSError as error:
        click.echo(f"error: {wording.printable(os_errors.explain(error, elsewhere=_ELSEWHERE))}", err=True)
        return os_errors.exit_code(error)
    click.echo(wording.shown(out))
    return 0


def _read_job(path: Path) -> dict[str, Any]:
    """The LMTrainingJob in a file.

    Raises:
        JobError: it holds something else.
        OSError: it cannot be read.
    """
    documents = list(read_documents(path.read_text(encoding="utf-8"), path.name))
    jobs = [one for one in documents if isinstance(one, dict) and one.get("kind") == "LMTrainingJob"]
    if len(jobs) != 1:
        found = wording.count(len(jobs), "LMTrainingJob")
        raise JobError(
            str(path), f"expected one LMTrainingJob, found {found}: write it with `kubectl get lmtj NAME -o json`"
        )
    return jobs[0]
