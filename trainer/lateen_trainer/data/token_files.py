"""Files of token ids that were made elsewhere: `.npy` arrays and raw `.bin` ones.

The ids are taken as they are. End-of-text tokens among them end documents; behind the last document one is added where
the file does not end with it, so that no document runs on into the next file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from lateen_trainer.errors import DataError, UserError

_IDS = 1 << 20
"""Ids that are read at once."""


@dataclass(frozen=True)
class TokenFormat:
    """What ids mean, and how raw ones lie in a file."""

    vocab_size: int
    eos_id: int
    dtype: str | None = None
    """NumPy's name of the type of `.bin` files (`spec.data.dtype`), little-endian."""


@dataclass(frozen=True)
class TokenRun:
    """Ids of a document or a part of it, without end of text."""

    ids: np.ndarray
    ends_document: bool


def npy_tokens(stream: IO[bytes], url: str, form: TokenFormat) -> Iterator[TokenRun]:
    """The documents of a `.npy` file: integers of shape (tokens,).

    Raises:
        DataError: the file is cut off or corrupt, holds something else, or an id is not in the vocabulary.
    """
    formats = np.lib.format
    try:
        version = formats.read_magic(stream)
        read_header = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{url} is not a .npy file: {_sentence(error)}. Expected one as numpy.save writes it. Write it again."
        ) from error
    if len(shape) != 1 or dtype.kind not in "ui":
        raise DataError(
            f"{url} holds an array of shape {shape} and type {dtype}: expected integers of shape (tokens,). Write "
            "it again, as by numpy.save(file, ids.reshape(-1)) with an end-of-text id behind each document."
        )
    yield from _documents(_chunks(stream, url, dtype, expected=shape[0]), url, form)


def raw_tokens(stream: IO[bytes], url: str, form: TokenFormat) -> Iterator[TokenRun]:
    """The documents of a `.bin` file: ids of the type `form.dtype`, and nothing else.

    Raises:
        UserError: the type is not given.
        DataError: the file is no whole number of ids, or an id is not in the vocabulary.
    """
    if form.dtype is None:
        raise UserError(
            f"spec.data.dtype is missing, and {url} is read as token ids of that type: expected uint16, uint32, int32 "
            "or int64. Set it to the type that the file was written with."
        )
    yield from _documents(_chunks(stream, url, np.dtype(form.dtype).newbyteorder("<"), expected=None), url, form)


def _chunks(stream: IO[bytes], url: str, dtype: np.dtype, *, expected: int | None) -> Iterator[np.ndarray]:
    """The ids in arrays of up to `_IDS`; `expected` in all, None: as many as there are."""
    count, held = 0, b""
    while chunk := stream.read(_IDS * dtype.itemsize - len(held)):
        held += chunk
        whole = len(held) // dtype.itemsize * dtype.itemsize
        if len(held) == _IDS * dtype.itemsize:
            count += _IDS
            yield np.frombuffer(held, dtype)
            held = held[whole:]
    whole = len(held) // dtype.itemsize
    count += whole
    if len(held) % dtype.itemsize and expected is None:
        size = (count * dtype.itemsize) + len(held) % dtype.itemsize
        raise DataError(
            f"{url} has {size:,} bytes, which is no multiple of {dtype.itemsize}: expected ids of the type "
            f"{dtype.name}. Correct spec.data.dtype, or copy the file again."
        )
    if expected is not None and (count != expected or len(held) % dtype.itemsize):
        raise DataError(
            f"{url} holds {'at least ' if count > expected else ''}{count:,} ids, but its header says {expected:,}: "
            "it is cut off or corrupt. Copy it again."
        )
    if whole:
        yield np.frombuffer(held, dtype, whole)


def _documents(chunks: Iterator[np.ndarray], url: str, form: TokenFormat) -> Iterator[TokenRun]:
    position, is_open = 0, False
    for ids in chunks:
        _check_vocabulary(ids, position, url, form)
        start = 0
        for end in np.flatnonzero(ids == form.eos_id):
            yield TokenRun(ids[start:end], ends_document=True)
            start = end + 1
        is_open = (is_open and start == 0) or start < len(ids)
        if start < len(ids):
            yield TokenRun(ids[start:], ends_document=False)
        position += len(ids)
    if is_open:
        yield TokenRun(np.empty(0, np.uint32), ends_document=True)


def _check_vocabulary(ids: np.ndarray, position: int, url: str, form: TokenFormat) -> None:
    bad = np.flatnonzero((ids < 0) | (ids >= form.vocab_size))
    if len(bad):
        raise DataError(
            f"{url} has the id {int(ids[bad[0]]):,} at position {position + int(bad[0]):,} (from 0 on): expected ids "
            f"from 0 to {form.vocab_size - 1:,}, as spec.data.tokenizer has them. Name the tokenizer that made the "
            "file, or correct spec.data.dtype."
        )


def _sentence(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
