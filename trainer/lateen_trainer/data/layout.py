"""How a part of the cache lies on disk: sharded zarr3 arrays, with a checksum behind every chunk.

    <cache>/cache.json            what the cache is of: files, tokenizer, parts
    <cache>/data/00017/tokens/         [token] uint16 or uint32
    <cache>/data/00017/document_ends/  [document] uint64: tokens of the part up to each document's end
    <cache>/data/00017/counted/        [token] uint8, of conversations: 1 where the prediction of the token counts
    <cache>/parts/00017.json      the part is whole: numbers and digests of its arrays
    <cache>/building/00017.json   how far the part has come
    <cache>/leases/00017.json     who is at work on it
    <cache>/ledger.json           the cache is whole: all of the above in one file

A shard is one file or object and is written whole, so a build that was killed goes on behind the last of
them. A chunk is what a remote reader fetches to get one sequence. Chunks are not compressed: a local reader
maps them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

TOKENS, DOCUMENT_ENDS, COUNTED = "tokens", "document_ends", "counted"
"""Names of the arrays of a part."""

CRC_BYTES = 4
"""Behind each chunk: CRC-32C, little-endian."""

_UNKNOWN_LENGTH = 1 << 50
"""Length of an array while it is built: more tokens than there will be."""

_ENDS_CHUNK, _ENDS_SHARD = 1 << 12, 1 << 20


@dataclass(frozen=True)
class Layout:
    """Sizes of chunks and shards in items of the array, and of parts in bytes of source files."""

    chunk: int = 1 << 14
    shard: int = 1 << 24
    part: int = 8 << 20
    """Small enough for many hosts to share a data set and for training to begin early, large enough for a request to
    cost nothing beside it: some seconds of work."""

    def __post_init__(self) -> None:
        if self.shard % self.chunk:
            raise ValueError(f"a shard of {self.shard} tokens is no multiple of a chunk of {self.chunk}")

    @property
    def chunks_per_shard(self) -> int:
        return self.shard // self.chunk

    def of(self, name: str) -> "Layout":
        """The layout of an array: there are fewer documents than tokens, and their ends are longer."""
        if name != DOCUMENT_ENDS:
            return self
        return Layout(min(self.chunk, _ENDS_CHUNK), min(self.shard, _ENDS_SHARD), self.part)


def folder(part: int) -> str:
    """Where the arrays of a part lie in the cache."""
    return f"data/{part:05d}"


def token_dtype(vocab_size: int) -> np.dtype:
    """uint16 where the vocabulary fits. The greatest value stays free: it fills what was never written."""
    return np.dtype("<u2") if vocab_size <= np.iinfo(np.uint16).max else np.dtype("<u4")


def dtype_of(name: str, tokens: np.dtype) -> np.dtype:
    """The type of an array of the part, given that of its tokens."""
    return {TOKENS: tokens, DOCUMENT_ENDS: np.dtype("<u8"), COUNTED: np.dtype("u1")}[name]


def _metadata(length: int, name: str, dtype: np.dtype, layout: Layout) -> dict[str, Any]:
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    if dtype.itemsize == 1:
        codecs[0] = {"name": "bytes"}
    return {
        "shape": [length],
        "data_type": dtype.name,
        "fill_value": int(np.iinfo(dtype).max),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [layout.shard]}},
        "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [layout.chunk], "codecs": codecs}}],
        "dimension_names": ["document" if name == DOCUMENT_ENDS else "token"],
    }


def writable_array(
    kvstore: dict[str, Any], path: str, dtype: np.dtype, layout: Layout, context: ts.Context
) -> ts.TensorStore:
    """The array at `path` in the cache in the folder `kvstore`, to write shards of while its length is not known.

    Its metadata are neither read nor written, so that several builders do not disturb each other.
    """
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore,
        "path": path,
        "metadata": _metadata(_UNKNOWN_LENGTH, path.rpartition("/")[2], dtype, layout),
        "assume_metadata": True,
    }
    return ts.open(spec, context=context).result()


def write_metadata(
    kvstore: dict[str, Any], path: str, length: int, dtype: np.dtype, layout: Layout, context: ts.Context
) -> None:
    """Makes the shards an array of `length` items that any reader of zarr3 can open."""
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore,
        "path": path,
        "metadata": _metadata(length, path.rpartition("/")[2], dtype, layout),
    }
    ts.open(spec, open=True, create=True, context=context).result()


def open_array(kvstore: dict[str, Any], path: str, context: ts.Context) -> ts.TensorStore:
    """An array of a whole part, to be read. A chunk that was lost is an error, not a run of fill values."""
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore,
        "path": path,
        "fill_missing_data_reads": False,
        "recheck_cached_data": False,  # what has been written does not change
    }
    return ts.open(spec, read=True, context=context).result()
