"""Parquet and Arrow files: the text column alone, a row group or record batch at a time.

pyarrow is imported where such a file is read, since no other needs it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from typing import IO, Any

from lateen_trainer.data.bad_documents import BadDocumentError, OnBadDocument
from lateen_trainer.errors import DataError, UserError

_ROWS = 1024
"""Rows that are decoded at once: a row group may be the whole file."""

_ARROW_FILE = b"ARROW1"
_FEATHER_1 = b"FEA1"
_SHOWN = 30
"""Columns that a message lists."""


def parquet_texts(stream: IO[bytes], url: str, text_key: str, on_bad: OnBadDocument) -> Iterator[str]:
    """The texts of a Parquet file, in the order of its rows.

    Args:
        stream: the file; it can seek.
        url: what messages call it.
        text_key: name of the column.
        on_bad: takes rows without text.

    Raises:
        DataError: the file is cut off or corrupt, or has no such column of text.
        UserError: pyarrow is not installed.
    """
    pa = _pyarrow(url)
    with _explained(pa, url, "Parquet"):
        file = pa.parquet.ParquetFile(stream)
    _check_column(pa, file.schema_arrow, url, text_key)
    groups = range(file.num_row_groups)
    batches = (file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=[text_key]) for group in groups)
    yield from _texts_of_batches(pa, "Parquet", chain.from_iterable(batches), url, text_key, on_bad)


def arrow_texts(stream: IO[bytes], url: str, text_key: str, on_bad: OnBadDocument) -> Iterator[str]:
    """The texts of an Arrow file: the IPC file format (Feather 2), or the stream format, which `datasets` writes.

    Arguments and errors are those of `parquet_texts`.
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
    _check_column(pa, schema, url, text_key)
    options = ipc.IpcReadOptions(included_fields=[schema.get_field_index(text_key)])
    stream.seek(0)
    with _explained(pa, url, "Arrow"):
        reader: Any = (ipc.open_file if is_file else ipc.open_stream)(stream, options=options)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)
    yield from _texts_of_batches(pa, "Arrow", batches, url, text_key, on_bad)


def _texts_of_batches(
    pa: Any, kind: str, batches: Iterator[Any], url: str, text_key: str, on_bad: OnBadDocument
) -> Iterator[str]:
    """The texts of record batches of one column, of which one is read at a time."""
    row = 0
    while True:
        with _explained(pa, url, kind):
            batch = next(batches, None)
        if batch is None:
            return
        yield from _texts(batch.column(0), row, url, text_key, on_bad)
        row += batch.num_rows


def _pyarrow(url: str) -> Any:
    try:
        for module in ("pyarrow.ipc", "pyarrow.parquet"):
            import_module(module)
        return import_module("pyarrow")
    except ImportError as error:
        raise UserError(
            f"{url} is read by pyarrow, which is not installed ({error}). Install it: pip install pyarrow."
        ) from error


def _check_column(pa: Any, schema: Any, url: str, text_key: str) -> None:
    columns = [f"{field.name} ({field.type})" for field in schema]
    listed = ", ".join(columns[:_SHOWN]) + (f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else "")
    remedy = "Name a column of text in spec.data.textKey"
    found = schema.names.count(text_key)
    if found != 1:
        problem = f"has {found} columns called {text_key!r}" if found else f"has no column {text_key!r}"
        raise DataError(f"{url} {problem}: expected the text there. Its columns are {listed or 'none'}. {remedy}.")
    kind = schema.field(text_key).type
    while pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return
    if pa.types.is_nested(kind):
        what = "which is nested"
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        what = "which is bytes rather than text; cast it to string"
    else:
        what = "which is no text"
    raise DataError(
        f"{url} has the column {text_key!r} of type {kind}, {what}: expected string. Its columns are {listed}. "
        f"{remedy}, or write the file again with one."
    )


def _texts(column: Any, first_row: int, url: str, text_key: str, on_bad: OnBadDocument) -> Iterator[str]:
    for row, scalar in enumerate(column, start=first_row):
        try:
            text = scalar.as_py()
        except UnicodeDecodeError as error:
            on_bad(
                BadDocumentError(
                    f"{url}, row {row:,} (from 0 on), is not UTF-8: {error}. Expected text in {text_key!r}. Write the "
                    "file again, or set spec.data.onBadDocument to skip.",
                    f"row {row:,}",
                )
            )
            continue
        if text is None:
            on_bad(
                BadDocumentError(
                    f"{url}, row {row:,} (from 0 on), is null in {text_key!r}: expected text. Remove such rows, or set "
                    "spec.data.onBadDocument to skip.",
                    f"row {row:,}",
                )
            )
        else:
            yield text


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
