"""How tokens lie in the cache: one sharded zarr3 array, with a checksum behind every chunk.

A shard is one file or object and is written whole, so a build that was killed goes on behind the last of
them. A chunk is what a remote reader fetches to get one sequence. Chunks are not compressed: a local reader
maps them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

ARRAY = "tokens"
"""Folder of the array within the cache."""

CRC_BYTES = 4
"""Behind each chunk: CRC-32C, little-endian."""

_UNKNOWN_LENGTH = 1 << 50
"""Length of the array while it is built: more tokens than there will be."""


@dataclass(frozen=True)
class Layout:
    """Sizes in tokens."""

    chunk: int = 1 << 14
    shard: int = 1 << 24

    def __post_init__(self) -> None:
        if self.shard % self.chunk:
            raise ValueError(f"a shard of {self.shard} tokens is no multiple of a chunk of {self.chunk}")

    @property
    def chunks_per_shard(self) -> int:
        return self.shard // self.chunk


def token_dtype(vocab_size: int) -> np.dtype:
    """uint16 where the vocabulary fits. The greatest value stays free: it fills what was never written."""
    return np.dtype("<u2") if vocab_size <= np.iinfo(np.uint16).max else np.dtype("<u4")


def _metadata(length: int, dtype: np.dtype, layout: Layout) -> dict[str, Any]:
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    return {
        "shape": [length],
        "data_type": dtype.name,
        "fill_value": int(np.iinfo(dtype).max),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [layout.shard]}},
        "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [layout.chunk], "codecs": codecs}}],
        "dimension_names": ["token"],
    }


def writable_array(kvstore: dict[str, Any], dtype: np.dtype, layout: Layout, context: ts.Context) -> ts.TensorStore:
    """The array of the cache in the folder `kvstore`, to write shards of while its length is not known.

    Its metadata are neither read nor written, so that several builders do not disturb each other.
    """
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore,
        "path": ARRAY,
        "metadata": _metadata(_UNKNOWN_LENGTH, dtype, layout),
        "assume_metadata": True,
    }
    return ts.open(spec, context=context).result()


def write_metadata(kvstore: dict[str, Any], length: int, dtype: np.dtype, layout: Layout, context: ts.Context) -> None:
    """Makes the shards an array of `length` tokens that any reader of zarr3 can open."""
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore,
        "path": ARRAY,
        "metadata": _metadata(length, dtype, layout),
    }
    ts.open(spec, open=True, create=True, context=context).result()


def open_array(kvstore: dict[str, Any], context: ts.Context) -> ts.TensorStore:
    """The array of a whole cache, to be read. A chunk that was lost is an error, not a run of fill values."""
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore,
        "path": ARRAY,
        "fill_missing_data_reads": False,
        "recheck_cached_data": False,  # what has been written does not change
    }
    return ts.open(spec, read=True, context=context).result()
