"""Documents in the column of a table: texts, or conversations as lists of structs.

All structs of a column have the same fields, and Arrow fills those that a message did not have with null. A chat
template can tell a field that is null from one that is absent, so fields that are null are left out, at every depth:
a conversation then is what it was in JSON. A null among the items of a list, and one in a map, is a value, and stays.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import IO, Any

from lateen_trainer.data.bad_documents import BadDocumentError, OnBadDocument, good_documents
from lateen_trainer.data.chat import ChatFormat, ConversationError, Rendered
from lateen_trainer.data.columnar import Column
from lateen_trainer.data.record_key import RecordKey

ReadValues = Callable[[IO[bytes], str, Column], Iterator[tuple[int, Any]]]
"""`columnar.parquet_values` or `columnar.arrow_values`."""


def table_texts(read: ReadValues, stream: IO[bytes], url: str, key: RecordKey, on_bad: OnBadDocument) -> Iterator[str]:
    """The texts of a column, in the order of the rows.

    Args:
        read: reads the file.
        stream: the file; it can seek.
        url: what messages call it.
        key: the column.
        on_bad: takes rows without text.

    Raises:
        DataError: the file is cut off or corrupt, or has no such column of text.
        UserError: pyarrow is not installed.
    """
    column = Column(key, "text", "string", _text_problem)
    return good_documents(read(stream, url, column), lambda row, scalar: _value(row, scalar, url, column), on_bad)


def table_conversations(
    read: ReadValues, stream: IO[bytes], url: str, chat: ChatFormat, on_bad: OnBadDocument
) -> Iterator[Rendered]:
    """The conversations of a column, in the order of the rows, rendered.

    Args:
        read: reads the file.
        stream: the file; it can seek.
        url: what messages call it.
        chat: the column, and what renders.
        on_bad: takes rows without a conversation that the template takes.

    Raises:
        DataError: the file is cut off or corrupt, or has no such column of messages.
        UserError: pyarrow is not installed.
    """
    column = Column(chat.messages_key, "messages", "a list of structs with role and content", _messages_problem)

    def conversation(row: int, scalar: Any) -> Rendered:
        messages = _without_nulls(_value(row, scalar, url, column), scalar.type, import_module("pyarrow").types)
        try:
            return chat.encoder.render(messages)
        except ConversationError as error:
            raise BadDocumentError(
                f"{url}, row {row:,} (from 0 on), {column.key.name!r}: {error}.", f"row {row:,}"
            ) from error

    return good_documents(read(stream, url, column), conversation, on_bad)


def _value(row: int, scalar: Any, url: str, column: Column) -> Any:
    """What a row holds, as Python has it.

    Raises:
        BadDocumentError: it is null, not UTF-8, or a map with a key twice.
    """
    where, place = f"{url}, row {row:,} (from 0 on),", f"row {row:,}"
    try:
        value = scalar.as_py(maps_as_pydicts="strict")
    except UnicodeDecodeError as error:
        raise BadDocumentError(
            f"{where} is not UTF-8: {error}. Expected text in {column.key.name!r}. Write the file again, or set "
            "spec.data.onBadDocument to skip.",
            place,
        ) from error
    except (KeyError, ValueError) as error:  # of a map, or of a struct
        raise BadDocumentError(
            f"{where} has several entries of one name in {column.key.name!r}: expected one of each. Write the file "
            "again, or set spec.data.onBadDocument to skip.",
            place,
        ) from error
    if value is None:
        raise BadDocumentError(
            f"{where} is null in {column.key.name!r}: expected {column.content}. Remove such rows, or set "
            "spec.data.onBadDocument to skip.",
            place,
        )
    return value


def _without_nulls(value: Any, kind: Any, types: Any) -> Any:
    """The value without the fields of structs that are null.

    Args:
        value: as Python has it, with maps as dictionaries.
        kind: its Arrow type.
        types: the module `pyarrow.types`.
    """
    if value is None:
        return None
    if types.is_struct(kind):
        fields = ((field.name, value[field.name], field.type) for field in kind)
        return {name: _without_nulls(inner, own, types) for name, inner, own in fields if inner is not None}
    if types.is_map(kind):
        return {name: _without_nulls(inner, kind.item_type, types) for name, inner in value.items()}
    if _is_list(kind, types):
        return [_without_nulls(item, kind.value_type, types) for item in value]
    return value


def _text_problem(pa: Any, kind: Any) -> str | None:
    """What is wrong with the type of a column of text; None: nothing."""
    if _is_text(kind, pa.types):
        return None
    if pa.types.is_nested(kind):
        return "which is nested"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "which is bytes rather than text; cast it to string"
    return "which is no text"


def _messages_problem(pa: Any, kind: Any) -> str | None:
    """What is wrong with the type of a column of messages; None: nothing."""
    if not _is_list(kind, pa.types):
        return "which is no list"
    message = kind.value_type
    if not pa.types.is_struct(message):
        return "whose items are no structs"
    for name in ("role", "content"):
        index = message.get_field_index(name)
        if index < 0:
            return f"whose structs have no field {name!r}"
        if not _is_text(message.field(index).type, pa.types):
            return f"whose field {name!r} is no text"
    return None


def _is_text(kind: Any, types: Any) -> bool:
    while types.is_dictionary(kind):
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_list(kind: Any, types: Any) -> bool:
    kinds = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(is_of(kind) for is_of in kinds)
