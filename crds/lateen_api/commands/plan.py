"""`lateen plan`: what a job would run on, or why it cannot."""

import json
import sys
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console

from lateen_api.commands.compile import compile_plan
from lateen_api.commands.sources import with_sources
from lateen_api.errors import JobError
from lateen_api.hugging_face.initial_model import with_initial_model
from lateen_api.load import load_job
from lateen_api.plan import known_vocab_size, make_plan, read_vocab_size
from lateen_api.plan.table import plan_table
from lateen_api.spec import Section


@click.command()
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--hosts", type=click.IntRange(min=1), help="Plan with so many hosts instead of the job's.")
@click.option("--cores", type=click.IntRange(min=1), help="Cores of a CPU host. Default: spec.compute.cpu, or 2.")
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Set a field, as trainer.seed=3.")
@click.option(
    "--compile",
    "compiles",
    is_flag=True,
    help="Compile the training step for the devices too, without having them, and show memory, FLOPs and collectives "
    "beside the estimate. Needs lateen[trainer]; with [tpu] or [cuda] for those. Takes a minute or more.",
)
@click.option(
    "--data/--no-data",
    "looks_at_data",
    default=True,
    show_default=True,
    help="Look at the files and caches of the training data, for at most 15 seconds, to show its epochs. Needs "
    "lateen[trainer]. Text is not read.",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the run, below which the cache is if data.cacheDir is relative or not set. Default: runs/<name of "
    "the job>, as in `lateen run`. If there is none, `cache` below checkpoint.path is looked at, as in a cluster.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml", "model"]),
    default="table",
    show_default=True,
    help="How to print; `model`: the fields of spec.model, also where trainer.initializeFrom has them.",
)
def plan(
    job: Path,
    hosts: int | None,
    cores: int | None,
    overrides: tuple[str, ...],
    compiles: bool,
    looks_at_data: bool,
    run_dir: Path | None,
    output: str,
) -> None:
    """Show what JOB would run on, what it would read, or why it cannot run. Creates nothing."""
    try:
        loaded = with_initial_model(load_job(job, overrides))
        tokenizer = loaded.spec.data.tokenizer
        vocab_size = known_vocab_size(tokenizer) or read_vocab_size(tokenizer)
        result = make_plan(loaded, vocab_size=vocab_size, hosts=hosts, cores=cores)
        if looks_at_data and output != "model":
            result = with_sources(result, loaded, (run_dir or Path("runs", loaded.metadata.name)).absolute())
        compiled = compile_plan(loaded, result) if compiles else None
    except JobError as error:
        click.echo(error, err=True)
        sys.exit(error.exit_code)
    plain = result.model_dump(mode="json", by_alias=True)
    if compiled is not None:
        plain["compiled"] = compiled.model_dump(mode="json", by_alias=True)
    if output == "model":
        click.echo(yaml.safe_dump({"model": _fields(loaded.spec.model)}, sort_keys=False), nl=False)
    elif output == "json":
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    elif output == "yaml":
        click.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), nl=False)
    else:
        Console().print(plan_table(loaded, result, compiled))


def _fields(section: Section) -> dict[str, Any]:
    """The fields of a section, without those whose null is the default."""
    nulls = {
        field.alias or name: None
        for name, field in type(section).model_fields.items()
        if getattr(section, name) is None and field.default is not None
    }
    return {**section.model_dump(mode="json", by_alias=True, exclude_none=True), **nulls}
