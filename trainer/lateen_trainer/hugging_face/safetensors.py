"""The format safetensors (https://huggingface.co/docs/safetensors): the header of a file, read and written.

A file is 8 bytes with the length of the header (little-endian), the header, which is JSON, and the tensors'
elements in row-major order. The library `safetensors` maps whole files into memory; a header of our own lets a process
read the bytes of its shards alone, from a bucket too.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

LENGTH = struct.Struct("<Q")
LONGEST_HEADER = 100_000_000
"""Bytes; the library has the same limit."""

_ALIGNMENT = 8
METADATA = "__metadata__"

DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
"""Types of elements, by their names in the format."""


class FormatError(ValueError):
    """A file that is no safetensors file; the message says what is wrong, beginning with "is" or "has"."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor in a file."""

    dtype: str
    """Name in the format."""

    shape: tuple[int, ...]
    start: int
    """Offset of its first byte in the file."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


def header_length(first: bytes, file_size: int | None) -> int:
    """Bytes of the header, from the first 8 bytes of a file.

    Args:
        file_size: None: not known.

    Raises:
        FormatError: the file cannot have such a header.
    """
    if len(first) < LENGTH.size:
        raise FormatError(f"has {len(first)} bytes, too few for a header")
    (length,) = LENGTH.unpack(first[: LENGTH.size])
    if length > LONGEST_HEADER or (file_size is not None and LENGTH.size + length > file_size):
        raise FormatError(f"is no safetensors file: it begins with a header's length of {length:,} bytes")
    return length


def parse_header(header: bytes, file_size: int | None) -> dict[str, TensorEntry]:
    """The tensors of a file by name.

    Args:
        header: without the 8 bytes before it.
        file_size: bytes of the file; None: not known.

    Raises:
        FormatError: the header is damaged, or the file is cut off.
    """
    try:
        body = json.loads(header)
        assert isinstance(body, dict)
    except (ValueError, AssertionError) as error:
        raise FormatError("is no safetensors file: its header is not JSON") from error
    data = LENGTH.size + len(header)
    tensors = {name: _entry(name, value, data) for name, value in body.items() if name != METADATA}
    end = max((entry.start + entry.nbytes for entry in tensors.values()), default=data)
    if file_size is not None and end > file_size:
        raise FormatError(f"is cut off: it has {file_size:,} bytes, and its header describes {end:,}")
    return tensors


def _entry(name: str, value: Any, data: int) -> TensorEntry:
    try:
        dtype, shape, (start, stop) = value["dtype"], tuple(value["shape"]), value["data_offsets"]
        if not all(isinstance(size, int) and size >= 0 for size in (*shape, start, stop)):
            raise ValueError("a size is no number")
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"has a header that describes tensor {name} as {value!r}") from error
    if dtype not in DTYPES:
        raise FormatError(f"has tensor {name} of type {dtype}, which is not known: expected {', '.join(DTYPES)}")
    entry = TensorEntry(dtype, shape, data + start)
    if entry.nbytes != stop - start:
        raise FormatError(
            f"has a header in which tensor {name} has {stop - start:,} bytes, and {dtype}{list(shape)} has "
            f"{entry.nbytes:,}"
        )
    return entry


def make_header(
    tensors: Sequence[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, TensorEntry]]:
    """The beginning of a file whose tensors follow each other in the given order.

    Args:
        tensors: name, name of the type, and shape of each.
        metadata: transformers expects `format: pt`.

    Returns:
        The bytes before the first tensor, and where each tensor lies.
    """
    body: dict[str, Any] = {METADATA: dict(metadata)}
    offset = 0
    for name, dtype, shape in tensors:
        stop = offset + TensorEntry(dtype, shape, 0).nbytes
        body[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(body, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    data = LENGTH.size + len(text)
    entries = {name: TensorEntry(dtype, shape, data + body[name]["data_offsets"][0]) for name, dtype, shape in tensors}
    return LENGTH.pack(len(text)) + text, entries
