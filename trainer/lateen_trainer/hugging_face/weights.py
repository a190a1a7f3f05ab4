"""The weights in a Hugging Face folder: which tensors its files hold, and their bytes by range."""

import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from lateen_api.hugging_face.folder import ModelFolder

from lateen_trainer.checkpoint.grid import Box, slices
from lateen_trainer.data.source import explained
from lateen_trainer.errors import UserError
from lateen_trainer.hugging_face.boxes import pieces, span, view
from lateen_trainer.hugging_face.safetensors import (
    DTYPES,
    LENGTH,
    FormatError,
    TensorEntry,
    header_length,
    parse_header,
)

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_CONVERT = (
    "Expected model.safetensors, or model.safetensors.index.json and its files. With transformers: "
    "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(other)."
)

LOCAL_GAP = 4096
"""Bytes between two runs that are read rather than left out: the system reads whole pages in any case, and a call for
each row of a matrix takes five times as long."""

REMOTE_GAP = 1 << 20
"""The same where each read is a request: less than a request's time is worth."""

READ_BYTES = 16 << 20
"""Bytes that are read at once at most, and so held in host memory by each of the threads that read."""

_HEADERS = 8


@dataclass(frozen=True)
class Place:
    """Where a tensor is."""

    file: str
    entry: TensorEntry


@dataclass
class Traffic:
    """What was read so far, of all threads."""

    bytes_read: int = 0
    reads: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, nbytes: int) -> None:
        """One read more."""
        with self._lock:
            self.bytes_read += nbytes
            self.reads += 1


class Weights:
    """The tensors of a folder.

    Args:
        folder: where they are.
        gap: see `pieces`; None: as suits the place.

    Raises:
        UserError: there are none, or a file is damaged.
        TrainerError: the place cannot be reached.
    """

    def __init__(self, folder: ModelFolder, *, gap: int | None = None):
        self.folder = folder
        self.traffic = Traffic()
        with explained(folder.field, folder.url):
            self._filesystem, self._root = folder.filesystem()
        self._is_local = "file" in np.atleast_1d(self._filesystem.protocol)
        self._gap = gap if gap is not None else LOCAL_GAP if self._is_local else REMOTE_GAP
        self.tensors: Mapping[str, Place] = self._find()

    def read(self, name: str, box: Box, target: np.ndarray) -> None:
        """Reads a part of a tensor.

        Args:
            name: of the tensor.
            box: of its elements, along its dimensions as `target` counts them.
            target: takes the elements, in its own type; its shape is the box's.

        Raises:
            UserError, TrainerError: the file cannot be read.
        """
        self.read_as(name, self.tensors[name].entry.shape, box, target)

    def read_as(self, name: str, shape: tuple[int, ...], box: Box, target: np.ndarray) -> None:
        """The same of a tensor whose dimensions are taken apart: `shape` has as many elements as the tensor."""
        place = self.tensors[name]
        dtype = DTYPES[place.entry.dtype]
        for piece in pieces(shape, box, dtype.itemsize, gap=self._gap, limit=READ_BYTES):
            start, stop = span(shape, piece, dtype.itemsize)
            data = self._read(place.file, place.entry.start + start, place.entry.start + stop)
            target[slices(piece, box)] = view(data, shape, piece, dtype)

    def _read(self, file: str, start: int, stop: int) -> bytes:
        path = f"{self._root}/{file}"
        with explained(self.folder.field, self.folder.url):
            if self._is_local:
                data = _pread(path, start, stop)
            elif self._filesystem.async_impl:
                data = self._filesystem.cat_file(path, start=start, end=stop)
            else:  # the others read ahead unless they are told not to
                with self._filesystem.open(path, "rb", cache_type="none") as opened:
                    opened.seek(start)
                    data = opened.read(stop - start)
        self.traffic.count(len(data))
        if len(data) != stop - start:
            raise UserError(
                f"{self._what(file)} has no bytes {start:,} to {stop:,} (a read gave {len(data):,}): expected a server "
                "that answers requests for ranges, and a file that stays as it is. Put the file back."
            )
        return data

    def _find(self) -> dict[str, Place]:
        """The tensors of all files."""
        index = self.folder.read_json(INDEX)
        if index is None:
            return {name: Place(SINGLE, entry) for name, entry in self._header(SINGLE).items()}
        file_of = index.get("weight_map")
        if not isinstance(file_of, dict) or not all(isinstance(file, str) for file in file_of.values()):
            raise UserError(f"{self._what(INDEX)} has no weight_map: expected the file of each tensor. {_CONVERT}")
        files = sorted(set(file_of.values()))
        for file in files:
            if "/" in file or file.startswith(".."):
                raise UserError(f"{self._what(INDEX)} names the file {file!r}: expected files in the same folder.")
        with ThreadPoolExecutor(_HEADERS) as pool:
            headers = dict(zip(files, pool.map(self._header, files), strict=True))
        for name, file in file_of.items():
            if name not in headers[file]:
                raise UserError(
                    f"{self._what(INDEX)} says that tensor {name} is in {file}, which does not have it: expected files "
                    "of one model. Put the right file back."
                )
        return {name: Place(file, headers[file][name]) for name, file in file_of.items()}

    def _header(self, file: str) -> dict[str, TensorEntry]:
        size = self._size(file)
        try:
            first = self._read(file, 0, min(LENGTH.size, LENGTH.size if size is None else size))
            length = header_length(first, size)
            return parse_header(self._read(file, LENGTH.size, LENGTH.size + length), size)
        except FormatError as error:
            raise UserError(f"{self._what(file)} {error}. Put the right file back.") from error

    def _size(self, file: str) -> int | None:
        """Bytes of a file; None: the server does not say."""
        with explained(self.folder.field, self.folder.url):
            try:
                return self._filesystem.info(f"{self._root}/{file}").get("size")
            except FileNotFoundError:
                pass
        raise UserError(f"{self._what(file)} is missing{self._pickled(file)}. {_CONVERT}")

    def _pickled(self, file: str) -> str:
        """What is there instead."""
        if file != SINGLE:
            return f", which {INDEX} names"
        there = [name for name in _PICKLED if self.folder.read(name) is not None] if self._is_local else []
        return f", and {there[0]} cannot be read: it is a pickled program" if there else ""

    def _what(self, file: str) -> str:
        return f"{self.folder.field} is {self.folder.url!r}: {file}"


def _pread(path: str, start: int, stop: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while start < stop and (part := os.pread(descriptor, stop - start, start)):
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(descriptor)
