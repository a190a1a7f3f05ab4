"""`lateen data`: the token caches of a job."""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from lateen_api.load import load_job
from lateen_api.spec import LMTrainingJob
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lateen_trainer.command_errors import exit_codes
from lateen_trainer.errors import DataError

SPLITS = ("train", "validation")


@click.group()
def data() -> None:
    """Build, inspect and verify the caches of a job's tokens.

    A cache lies in a folder of its own below data.cacheDir, named by the source files, the tokenizer and the options
    that its tokens depend on. Several of these commands may build one cache at the same time, on several machines.
    """


def _of_job(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the job and the options that all of them have, and its errors their exit codes."""

    @click.argument("job_file", metavar="JOB", type=click.Path(path_type=Path))
    @click.option(
        "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Set a field of the job. May be repeated."
    )
    @click.option(
        "--run-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder of the run, below which a relative data.cacheDir is, and the cache of a job that names none. "
        "Default: runs/<name of the job>, as in `lateen run`.",
    )
    @functools.wraps(command)
    def run(job_file: Path, overrides: tuple[str, ...], run_dir: Path | None, **options: Any) -> None:
        from lateen_trainer.data.job_data import cache_dir_of

        with exit_codes():
            job = load_job(job_file, overrides)
            folder = run_dir or Path("runs", job.metadata.name)
            command(job, cache_dir_of(job.spec.data, folder.absolute()), **options)

    return run


@data.command()
@click.option("--split", type=click.Choice(SPLITS), help="Only this one. Default: all that the job has.")
@_of_job
def build(job: LMTrainingJob, cache_dir: str, split: str | None) -> None:
    """Tokenize the text of JOB into its cache, or go on where an earlier build was stopped.

    The same command on further machines that see data.cacheDir takes a share of the work.
    """
    from lateen_trainer.data.prepare import open_or_build_cache
    from lateen_trainer.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(job.spec.data.tokenizer)
    for source in _sources(job, split):
        with _bar(source.label) as show:
            cache = open_or_build_cache(
                source.data, source.split, tokenizer, cache_dir,
                where=source.where, progress=show, seed=source.stream_seed(job.spec.trainer.seed),
            )  # fmt: skip
        click.echo(
            f"{cache.url}: {len(cache):,} tokens, {cache.ledger.documents:,} documents, "
            f"{len(cache.parts):,} parts, {len(cache.ledger.files):,} files"
        )


@data.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print.")
@_of_job
def inspect(job: LMTrainingJob, cache_dir: str, output: str) -> None:
    """Show what JOB's caches hold: files, parts, tokens, documents, sequences, epochs, and the first sequence.

    Of a cache that is being built, what is there so far.
    """
    from lateen_trainer.data.about import about_cache
    from lateen_trainer.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(job.spec.data.tokenizer)
    rows = [
        about_cache(job.spec, source, tokenizer, cache_dir, seed=source.stream_seed(job.spec.trainer.seed))
        for source in _sources(job)
    ]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        for key, value in row.items():
            click.echo(f"{key:>16}  {value:,}" if isinstance(value, int) else f"{key:>16}  {_shown(value)}")
        click.echo()


@data.command()
@_of_job
def verify(job: LMTrainingJob, cache_dir: str) -> None:
    """Read all of JOB's caches and compare the digests of every part. Damaged parts are named.

    Exit code 41 if one is damaged, 40 if there is no cache.
    """
    from lateen_trainer.data.about import check_parts
    from lateen_trainer.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(job.spec.data.tokenizer)
    damaged = 0
    for source in _sources(job):
        found = check_parts(source, tokenizer, cache_dir, seed=source.stream_seed(job.spec.trainer.seed))
        parts = 0
        for part, damage in found.parts:
            parts += 1
            if damage is not None:
                damaged += 1
                click.echo(f"part {part:05d} of {source.label}: {damage}", err=True)
        missing = "" if parts == found.of_parts else f" of {found.of_parts:,}; the others are not built yet"
        click.echo(f"{found.url}: {parts:,} parts read{missing}")
    if damaged:
        raise DataError(f"{damaged} parts are damaged. Delete the caches' folders; they are built again.")


@data.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print.")
@_of_job
def ls(job: LMTrainingJob, cache_dir: str, output: str) -> None:
    """List all caches in JOB's data.cacheDir, and whether JOB uses them."""
    from lateen_trainer.data.about import list_caches
    from lateen_trainer.data.prepare import find_cache
    from lateen_trainer.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(job.spec.data.tokenizer)
    found = (
        find_cache(source.data, source.split, tokenizer, cache_dir, where=source.where) for source in _sources(job)
    )
    used = {one.cache.url.rpartition("/")[2] for one in found}
    rows = list_caches(cache_dir, used)
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, header_style="bold")
    for heading in ("CACHE", "SPLIT", "TOKENIZER"):
        table.add_column(heading, no_wrap=True)
    for heading in ("FILES", "PARTS", "TOKENS", "SIZE"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("USED")
    for row in rows:
        size = f"{row['bytes'] / 1e6:,.1f} MB"
        parts = f"{row['parts']:,}/{row['ofParts']:,}"
        figures = (f"{row['files']:,}", parts, f"{row['tokens']:,}", size, "yes" if row["used"] else "no")
        table.add_row(row["cache"], row["split"], row["tokenizer"], *figures)
    Console().print(table)


def _sources(job: LMTrainingJob, only: str | None = None) -> Iterator[Any]:
    """The sources that the job has, of one split or both."""
    from lateen_trainer.data.job_data import job_sources

    for split in ("train", "validation"):
        if only is None or split == only:
            yield from job_sources(job.spec.data, split)


def _shown(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


@contextmanager
def _bar(name: str) -> Iterator[Callable[[Any], None]]:
    """A bar of the source files that are tokenised, with tokens and documents per second."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=None, state="")
        yield lambda now: progress.update(task, total=now.of_files, completed=now.files, state=str(now))
