"""`lateen tokenizer train`: a tokenizer for the text of a job."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from lateen_api.load import load_job
from lateen_api.spec import DataSpec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lateen_trainer.command_errors import exit_codes
from lateen_trainer.errors import UserError

if TYPE_CHECKING:  # modules that take long to import, and the command line has other commands
    from lateen_trainer.data.job_data import JobSource
    from lateen_trainer.data.source import SourceFile


@click.group()
def tokenizer() -> None:
    """Make tokenizers."""


@tokenizer.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--vocab-size", type=click.IntRange(min=1), required=True, help="Tokens, special ones included.")
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write: new or empty.")
@click.option(
    "--special-token",
    "special_tokens",
    multiple=True,
    metavar="TEXT",
    help="A special token; the first one ends documents. May be repeated. Default: <|endoftext|>.",
)
@click.option("--text-key", help="Field or column that holds the text. Default: that of the job, or `text`.")
def train(
    sources: tuple[str, ...], vocab_size: int, folder: Path, special_tokens: tuple[str, ...], text_key: str | None
) -> None:
    """Train a byte-level BPE on the text of SOURCES: one job (.yaml), or files as data.trainUrls names them.

    `data.tokenizer: FOLDER` and transformers load what is written. The same text gives the same tokenizer.
    """
    with exit_codes():
        click.echo(_train(sources, vocab_size, folder, special_tokens or ("<|endoftext|>",), text_key))


def _train(
    sources: Sequence[str], vocab_size: int, folder: Path, special_tokens: Sequence[str], text_key: str | None
) -> str:
    from lateen_trainer.data.job_data import job_sources
    from lateen_trainer.data.prepare import find_files
    from lateen_trainer.data.tokenizer_training import check_folder, save_tokenizer, train_bpe

    check_folder(folder)
    found = [
        (source, *find_files(source.data, "train", source.where)) for source in job_sources(_data(sources), "train")
    ]
    fields, number = ", ".join(field for _, field, _ in found), sum(len(files) for _, _, files in found)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total} files"))
    counts = {"characters": 0, "skipped": 0}
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("reading", total=number)
        texts = (
            text
            for source, field, files in found
            for text in _texts(source, field, files, text_key, counts, lambda: progress.advance(task))
        )
        trained = train_bpe(texts, vocab_size=vocab_size, special_tokens=special_tokens)
    if not counts["characters"]:
        raise UserError(f"{fields}: its {number} files hold no text. Expected some to train on.")
    save_tokenizer(trained, folder, end_of_text=special_tokens[0])
    size = trained.get_vocab_size()
    skipped = f", {counts['skipped']:,} bad documents skipped" if counts["skipped"] else ""
    fewer = "" if size == vocab_size else f" ({vocab_size:,} were asked for; the text has no more pairs that repeat)"
    return (
        f"{folder}: {size:,} tokens{fewer}, from {counts['characters']:,} characters of {number} files{skipped}. "
        f"Use it: data.tokenizer: {folder}"
    )


def _data(sources: Sequence[str]) -> DataSpec:
    """What to read: of the job, or the files."""
    jobs = [source for source in sources if source.endswith((".yaml", ".yml")) and "://" not in source]
    if not jobs:
        return DataSpec(train_urls=list(sources))
    if len(sources) > 1:
        raise UserError(f"SOURCES are {list(sources)!r}: expected one job, or files. Leave out the others.")
    return load_job(Path(jobs[0])).spec.data


def _texts(
    source: "JobSource",
    field: str,
    files: "Sequence[SourceFile]",
    text_key: str | None,
    counts: dict[str, int],
    advance: Callable[[], None],
) -> Iterator[str]:
    from lateen_trainer.data.bad_documents import BadDocumentError, stop
    from lateen_trainer.data.documents import read_documents
    from lateen_trainer.data.record_key import RecordKey

    def skip(_: BadDocumentError) -> None:
        counts["skipped"] += 1

    key = RecordKey(text_key or source.data.text_key, f"{source.where}.textKey")
    on_bad = skip if source.data.on_bad_document == "skip" else stop
    for file in files:
        for piece in read_documents(file, text_key=key, as_bytes=False, field=field, on_bad=on_bad):
            text = str(piece.text)
            counts["characters"] += len(text)
            yield text
        advance()
