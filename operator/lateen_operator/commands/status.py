"""`lateen status`: how a job is, once or as it goes on."""

import json
import time
from collections.abc import Callable
from typing import Any

import click
from lateen_api.status import ConditionType
from lateen_api.termination import ExitCode
from rich.console import Console
from rich.live import Live

from lateen_operator.commands.cluster import Cluster
from lateen_operator.commands.page import JobView, page

WATCH_SECONDS = 2.0


def show_status(cluster: Cluster, name: str, *, as_json: bool, console: Console) -> None:
    """Shows the job once.

    Raises:
        CommandError: there is no such job, or the API server refused.
    """
    body = cluster.job(name)
    if as_json:
        click.echo(json.dumps(plain(body), indent=2, ensure_ascii=False))
    else:
        console.print(page(JobView.of(body), time.time()))


def watch_status(
    cluster: Cluster, name: str, *, console: Console, sleep: Callable[[float], None] = time.sleep
) -> ExitCode:
    """Shows the job until it has ended: as one page that is redrawn at a terminal, as a page whenever something has
    changed elsewhere.

    Raises:
        CommandError: there is no such job any more, or the API server refused.
    """
    last: Any = None
    with Live(console=console, auto_refresh=False) as live:
        while True:
            body = cluster.job(name)
            job = JobView.of(body)
            if console.is_terminal:
                live.update(page(job, time.time()), refresh=True)
            elif body.get("status") != last:
                console.print(page(job, time.time()))
            last = body.get("status")
            if job.holds(ConditionType.COMPLETE):
                return ExitCode.DONE
            if job.holds(ConditionType.FAILED):
                return ExitCode.ERROR
            sleep(WATCH_SECONDS)


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """What `-o json` prints."""
    metadata = body["metadata"]
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "suspend": bool(body.get("spec", {}).get("suspend")),
        "status": body.get("status") or {},
    }
