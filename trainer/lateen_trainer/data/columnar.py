"""Parquet and Arrow files: one column alone, a row group or record batch at a time.

pyarrow is imported where such a file is read, since no other needs it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from typing import IO, Any

from lateen_trainer.data.record_key import RecordKey
from lateen_trainer.errors import DataError, UserError

_ROWS = 1024
"""Rows that are decoded at once: a row group may be the whole file."""

_ARROW_FILE = b"ARROW1"
_FEATHER_1 = b"FEA1"
_SHOWN = 30
"""Columns that a message lists."""

TypeCheck = Callable[[Any, Any], str | None]
"""Given pyarrow and a column's type: what is wrong with the type, as `which is nested`; None: nothing."""


@dataclass(frozen=True)
class Column:
    """The column that is read. `content` and `expected` are parts of messages to people."""

    key: RecordKey
    content: str
    """What it holds: `text`."""

    expected: str
    """The type that it should have."""

    problem: TypeCheck


def parquet_values(stream: IO[bytes], url: str, column: Column) -> Iterator[tuple[int, Any]]:
    """The rows of a Parquet file, in order: each row's number, from 0, and pyarrow's scalar of the column.

    Args:
        stream: the file; it can seek.
        url: what messages call it.
        column: what is read.

    Raises:
        DataError: the file is cut off or corrupt, or has no such column of the expected type.
        UserError: pyarrow is not installed.
    """
    pa = _pyarrow(url)
    with _explained(pa, url, "Parquet"):
        file = pa.parquet.ParquetFile(stream)
    _check_column(pa, file.schema_arrow, url, column)
    groups = range(file.num_row_groups)
    batches = (file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=[column.key.name]) for group in groups)
    yield from _values_of_batches(pa, "Parquet", chain.from_iterable(batches), url)


def arrow_values(stream: IO[bytes], url: str, column: Column) -> Iterator[tuple[int, Any]]:
    """The rows of an Arrow file: the IPC file format (Feather 2), or the stream format, which `datasets` writes.

    Arguments, result and errors are those of `parquet_values`.
    """
    pa = _pyarrow(url)
    ipc = pa.ipc
    head = stream.read(len(_ARROW_FILE))
    stream.seek(0)
    if head.startswith(_FEATHER_1):
        raise DataError(f"{url} is in version 1 of Feather: expected version 2, or Parquet. Write it again.")
    is_file = head == _ARROW_FILE
    # A stream's metadata cannot say which columns are read; columns of a file can be chosen.
    with _explained(pa, url, "Arrow"):
        schema = (ipc.open_file if is_file else ipc.open_stream)(stream).schema
    _check_column(pa, schema, url, column)
    options = ipc.IpcReadOptions(included_fields=[schema.get_field_index(column.key.name)])
    stream.seek(0)
    with _explained(pa, url, "Arrow"):
        reader: Any = (ipc.open_file if is_file else ipc.open_stream)(stream, options=options)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)
    yield from _values_of_batches(pa, "Arrow", batches, url)


def _values_of_batches(pa: Any, kind: str, batches: Iterator[Any], url: str) -> Iterator[tuple[int, Any]]:
    """The rows of record batches of one column, of which one is read at a time."""
    first = 0
    while True:
        with _explained(pa, url, kind):
            batch = next(batches, None)
        if batch is None:
            return
        yield from enumerate(batch.column(0), start=first)
        first += batch.num_rows


def _pyarrow(url: str) -> Any:
    try:
        for module in ("pyarrow.ipc", "pyarrow.parquet"):
            import_module(module)
        return import_module("pyarrow")
    except ImportError as error:
        raise UserError(
            f"{url} is read by pyarrow, which is not installed ({error}). Install it: pip install pyarrow."
        ) from error


def _check_column(pa: Any, schema: Any, url: str, column: Column) -> None:
    columns = [f"{field.name} ({field.type})" for field in schema]
    listed = ", ".join(columns[:_SHOWN]) + (f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else "")
    name = column.key.name
    remedy = f"Name a column of {column.content} in {column.key.field}"
    found = schema.names.count(name)
    if found != 1:
        problem = f"has {found} columns called {name!r}" if found else f"has no column {name!r}"
        raise DataError(
            f"{url} {problem}: expected the {column.content} there. Its columns are {listed or 'none'}. {remedy}."
        )
    kind = schema.field(name).type
    problem = column.problem(pa, kind)
    if problem is not None:
        raise DataError(
            f"{url} has the column {name!r} of type {kind}, {problem}: expected {column.expected}. Its columns are "
            f"{listed}. {remedy}, or write the file again with one."
        )


@contextmanager
def _explained(pa: Any, url: str, kind: str) -> Iterator[None]:
    """Turns what pyarrow raises of a file's content into a DataError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        # A broken page or footer is an OSError too; it has no number of the system's, and no type of a server's client.
        if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
            raise
        said = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
        raise DataError(
            f"{url} is not a whole {kind} file: {said}. It is cut off or corrupt: expected one that pyarrow reads. "
            "Copy it again, or exclude it with a pattern that starts with `!`."
        ) from error
