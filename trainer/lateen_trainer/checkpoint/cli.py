"""`lateen checkpoints`: what is in a folder of checkpoints, and whether it is whole."""

import json
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from lateen_trainer.checkpoint.folder import FIELD, OWNER, CheckpointFolder, Found, State, step_name
from lateen_trainer.checkpoint.verify import verify
from lateen_trainer.command_errors import exit_codes
from lateen_trainer.errors import CorruptCheckpointError, UserError
from lateen_trainer.storage import check_reachable, explained


@click.command()
@click.argument("path")
@click.option("--verify", "verify_all", is_flag=True, help="Read everything and check every digest.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print.")
def checkpoints(path: str, verify_all: bool, output: str) -> None:
    """List the checkpoints in PATH, a folder or gs:// URL.

    Exit code 46 if one is corrupt that is not set aside yet. Without --verify only manifests are looked at.
    """
    with exit_codes():
        rows = [_row(one) for one in list_checkpoints(path, verify_all=verify_all)]
    if not rows:
        click.echo(f"{path}: an attempt has claimed the folder, and no checkpoint was saved yet.", err=True)
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows, now=time.time())
    if any(row["state"] == State.CORRUPT and row["name"] == step_name(row["step"]) for row in rows):
        sys.exit(int(CorruptCheckpointError.exit_code))


def list_checkpoints(path: str, *, verify_all: bool) -> list[Found]:
    """The folders of steps in `path`, by step; with `verify_all`, complete ones are read and checked.

    Returns:
        None of them for a folder that an attempt has claimed and has saved nothing in yet.

    Raises:
        UserError: there is no such folder, it is none of checkpoints, or it cannot be read.
        CorruptCheckpointError: there is none, but one was committed.
        TrainerError: the object store cannot be reached.
    """
    with explained(path, field=FIELD):
        check_reachable(path, field=FIELD)
    folder = CheckpointFolder(path)
    try:
        found = [*map(folder.look, folder.steps()), *folder.set_aside_ones()]
        found.sort(key=lambda one: (one.step, one.name))
        if not found:
            _check_claimed(folder)
        if not verify_all:
            return found
        return [_verified(folder, one) for one in found]
    except OSError as error:
        raise UserError(f"{path}: {error}") from error


def _check_claimed(folder: CheckpointFolder) -> None:
    """Raises the error for a folder without folders of steps, unless an attempt has just begun to use it."""
    path = folder.url
    if not folder.exists():
        raise UserError(f"{path}: no such folder; expected the spec.checkpoint.path of a job.")
    if (committed := folder.last_commit()) is not None:
        raise CorruptCheckpointError(
            f"{path}: no checkpoint is there, but one of step {committed} was committed. Put the files back from a "
            "backup."
        )
    if not folder.is_claimed():
        raise UserError(
            f"{path}: no folder of checkpoints; expected the spec.checkpoint.path of a job, which holds {OWNER} and "
            "folders such as step-00000010. Give that folder: of a run on this machine it is `checkpoints` in the "
            "run's folder."
        )


def _verified(folder: CheckpointFolder, one: Found) -> Found:
    if one.manifest is None:
        return one
    damage = verify(folder, one.manifest)
    return one if damage is None else Found(one.name, one.step, State.CORRUPT, one.manifest, damage)


def _row(one: Found) -> dict[str, Any]:
    manifest = one.manifest
    return {
        "name": one.name,
        "step": one.step,
        "state": str(one.state),
        "bytes": manifest.nbytes if manifest else None,
        "created": manifest.created if manifest else None,
        "job": manifest.job if manifest else None,
        "processes": manifest.processes if manifest else None,
        "damage": one.damage,
    }


def _print_table(rows: list[dict[str, Any]], now: float) -> None:
    table = Table(box=None, header_style="bold")
    for heading in ("STEP", "SIZE", "AGE"):
        table.add_column(heading, justify="right")
    for heading in ("STATE", "JOB", "FOLDER"):
        table.add_column(heading)
    colours = {State.COMPLETE: "green", State.CORRUPT: "red", State.INCOMPLETE: "yellow"}
    for row in rows:
        size = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.1f} MB"
        age = "-" if row["created"] is None else _age(now - row["created"])
        colour = colours.get(row["state"], "dim")
        state = f"[{colour}]{row['state']}[/{colour}]"
        table.add_row(str(row["step"]), size, age, state, row["job"] or "-", row["name"])
    console = Console()
    console.print(table)
    for row in rows:
        if row["damage"]:
            console.print(f"{row['name']}: {row['damage']}", markup=False, soft_wrap=True)


def _age(seconds: float) -> str:
    """`45s`, `12m`, `5h`, `3d`: as kubectl shows it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"
