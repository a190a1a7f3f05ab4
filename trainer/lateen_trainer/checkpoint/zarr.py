"""One array of a checkpoint, as a Zarr version 3 array read and written by TensorStore.

A file is one shard of Zarr's `sharding_indexed` codec, so any Zarr 3 library can open an array by itself
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/).
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import numpy as np
import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.checkpoint.grid import Box, box_shape, slices
from lateen_trainer.checkpoint.manifest import ArrayLayout
from lateen_trainer.digest import DamagedError, digest_array, digest_bytes

DESCRIPTION = "zarr.json"
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}


def array_folder(name: str) -> str:
    """Folder of an array below the checkpoint's, with a slash at its end."""
    return f"arrays/{quote(name, safe='.-_[]')}/"


def io_context(cache_bytes: int = 0) -> ts.Context:
    """What TensorStore may use; `cache_bytes`: memory for chunks that are read more than once."""
    pool = {"total_bytes_limit": cache_bytes}
    return ts.Context({"cache_pool": pool, "file_io_concurrency": {"limit": 32}, **storage.RETRIES})


def open_array(kvstore: dict[str, Any], name: str, layout: ArrayLayout, context: ts.Context) -> ts.TensorStore:
    """Opens an array for reading and writing, by its layout alone: `zarr.json` is not read.

    Args:
        kvstore: TensorStore's description of the checkpoint's folder.
        name: of the array.
        layout: how it lies there.
        context: from `io_context`.
    """
    return ts.open(_spec(kvstore, name, layout), open=True, assume_metadata=True, context=context).result()


def write_description(kvstore: dict[str, Any], name: str, layout: ArrayLayout, context: ts.Context) -> str:
    """Writes the array's `zarr.json`, from which other programs read the array, and gives its digest."""
    store = ts.open(_spec(kvstore, name, layout), create=True, open=True, context=context).result()
    assert store.kvstore is not None
    return digest_bytes(bytes(store.kvstore[DESCRIPTION]))


def check_description(kvstore: dict[str, Any], name: str, digest: str, context: ts.Context) -> None:
    """Checks the array's `zarr.json`. Restoring does not read it, but other programs do.

    Raises:
        DamagedError: it is missing or not what was written.
        OSError: the store cannot be reached or refuses.
    """
    store = ts.KvStore.open({**kvstore, "path": kvstore["path"] + array_folder(name)}, context=context).result()
    try:
        content = store.read(DESCRIPTION).result()
    except ValueError as error:
        raise OSError(f"{name}: {error}") from error
    if content.state != "value" or digest_bytes(bytes(content.value)) != digest:
        state = "is missing" if content.state != "value" else "does not have the digest that the manifest states"
        raise DamagedError(f"{DESCRIPTION} of {name} {state}")


def write_file(store: ts.TensorStore, layout: ArrayLayout, chunks: Iterable[tuple[int, np.ndarray]]) -> dict[int, str]:
    """Writes all chunks of one file, at once, and gives their digests by number.

    The arrays may be referred to until the call returns; they must not change.

    Raises:
        ValueError: TensorStore's error.
    """
    digests = {}
    # Without a transaction each chunk would be a read, change and write of the whole file.
    transaction = ts.Transaction()
    target = store.with_transaction(transaction)
    for number, values in chunks:
        digests[number] = digest_array(values)
        box = layout.chunks.box(number)
        target[slices(box)].write(values, can_reference_source_data_indefinitely=True).result()
    transaction.commit_async().result()
    return digests


def read_chunk(
    store: ts.TensorStore, name: str, layout: ArrayLayout, number: int, digest: str
) -> tuple[Box, np.ndarray]:
    """Reads a chunk and checks it.

    Raises:
        DamagedError: the chunk is missing, cannot be read, or is not what was written.
        OSError: the store cannot be reached or refuses.
    """
    box = layout.chunks.box(number)
    try:
        values = np.asarray(store[slices(box)].read().result())
    except (ValueError, IndexError, KeyError) as error:
        if _is_access(error):
            raise OSError(f"{name}: {error}") from error
        raise DamagedError(f"chunk {number} of {name} cannot be read ({_short(error)})") from error
    if values.shape != box_shape(box) or digest_array(values) != digest:
        raise DamagedError(f"chunk {number} of {name} does not have the digest that the manifest states")
    return box, values


def _is_access(error: Exception) -> bool:
    """Whether TensorStore's error is about reaching the store, not about what lies in it."""
    codes = (
        "UNAVAILABLE",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
    )
    return str(error).startswith(codes)


def _short(error: Exception) -> str:
    return str(error).split(" [")[0][:200]


def _spec(kvstore: dict[str, Any], name: str, layout: ArrayLayout) -> dict[str, Any]:
    codecs: list[dict[str, Any]] = [_LITTLE_ENDIAN]
    if layout.chunk_shape != layout.file_shape:
        sharding = {
            "chunk_shape": layout.chunk_shape,
            "codecs": codecs,
            "index_codecs": [_LITTLE_ENDIAN, {"name": "crc32c"}],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    metadata = {
        "shape": layout.shape,
        "data_type": layout.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": layout.file_shape}},
        "codecs": codecs,
    }
    if layout.axes is not None:
        metadata["dimension_names"] = layout.axes
    return {
        "driver": "zarr3",
        "kvstore": {**kvstore, "path": kvstore["path"] + array_folder(name)},
        "metadata": metadata,
        # A chunk of zeros that is not written could not be told from one that is lost.
        "store_data_equal_to_fill_value": True,
        "fill_missing_data_reads": False,
    }
