"""The folder that a model is exported to: a path, or a URL that fsspec can write to."""

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fsspec
from lateen_api import os_errors

from lateen_trainer import storage
from lateen_trainer.data.source import explained
from lateen_trainer.errors import TrainerError, UserError

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
_MARKS = (CONFIG, ADAPTER_CONFIG)
"""Files without which nothing loads a folder."""

_WEIGHTS = (".safetensors", ".safetensors.index.json")
_AHEAD = 2
"""Blocks that wait to be written."""

_SUFFIX = ".partial"
_PROBE = ".lateen-probe"
_GOOGLE = "gs://"


class Destination:
    """A folder that is being written.

    Args:
        url: path or URL.
        field: the job's field that names it; for messages.

    Raises:
        UserError: the URL is none that can be written to.
    """

    def __init__(self, url: str, *, field: str):
        self.url = url
        self.field = field
        local = storage.local_path(url)
        with explained(field, url):
            try:
                self._filesystem, self._root = fsspec.url_to_fs(str(local or url), use_listings_cache=False)
            except ValueError as error:
                raise UserError(f"{field} is {url!r}: {error}. Expected a path, or gs://bucket/path.") from error
        self._local = local

    def check_writable(self) -> None:
        """Makes the folder, writes something small into it, and deletes that: what is wrong with the destination is to
        show before the model is trained.

        Raises:
            UserError: there is no such bucket, or access is denied.
            TrainerError: the place cannot be reached.
        """
        if self.url.lower().startswith(_GOOGLE):
            storage.check_writable(self.url, field=self.field)  # gcsfs goes on for half a minute before it gives up
            return
        with self._explained():
            self._filesystem.makedirs(self._root, exist_ok=True)
            with self._filesystem.open(f"{self._root}/{_PROBE}", "wb"):
                pass
            self._filesystem.rm_file(f"{self._root}/{_PROBE}")

    def names(self) -> list[str]:
        """What the folder holds."""
        with self._explained():
            self._filesystem.invalidate_cache()
            if not self._filesystem.isdir(self._root):
                return []
            found = self._filesystem.ls(self._root, detail=False)
            return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def has_model(self) -> bool:
        """Does the folder hold a model, or what an export left that was cut off?"""
        return bool(self._old())

    def _old(self) -> list[str]:
        return [name for name in self.names() if name in _MARKS or name.endswith((*_WEIGHTS, _SUFFIX))]

    def clear(self) -> None:
        """Makes the folder, without an earlier model: first the file goes without which nothing loads it."""
        old = self._old()
        with self._explained():
            self._filesystem.makedirs(self._root, exist_ok=True)
            for name in sorted(old, key=lambda name: name not in _MARKS):
                self._filesystem.rm_file(f"{self._root}/{name}")

    def put(self, name: str, content: bytes) -> None:
        """Writes a small file."""
        with self._explained(), self._filesystem.open(f"{self._root}/{name}", "wb") as file:
            file.write(content)

    def put_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file."""
        self.put(name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def writer(self, name: str) -> "FileWriter":
        """A file that is written piece by piece."""
        path = f"{self._root}/{name}"
        return FileWriter(self._filesystem, path, path if self._local is None else path + _SUFFIX)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what the file system raises into an error that names the field, and says what to do."""
        if self._local is None:
            with explained(self.field, self.url):
                yield
            return
        try:
            yield
        except OSError as error:
            known = os_errors.cause(error.errno, self._local, elsewhere=storage.ELSEWHERE)
            why = known or f"{error.strerror or error}."
            kind = TrainerError if os_errors.may_pass(error.errno) else UserError
            raise kind(f"{self.field} is {self.url!r}: {why}") from error


class FileWriter:
    """Writes a file in a thread of its own, so that the devices give the next block meanwhile.

    On a file system it has another name until it is whole; in an object store it appears when it is.
    """

    def __init__(self, filesystem: Any, path: str, temporary: str):
        self._filesystem, self._path, self._temporary = filesystem, path, temporary
        self._blocks: queue.Queue[bytes | memoryview | None] = queue.Queue(_AHEAD)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="export", daemon=True)
        self._thread.start()

    def write(self, block: bytes | memoryview) -> None:
        """Takes the next bytes; what goes wrong with them, `close` says."""
        self._blocks.put(block)

    def close(self) -> None:
        """Waits until the file is there.

        Raises:
            OSError, or what the object store's client raises: it could not be written.
        """
        self._blocks.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with self._filesystem.open(self._temporary, "wb") as file:
                while (block := self._blocks.get()) is not None:
                    file.write(block)
            if self._temporary != self._path:
                self._filesystem.mv(self._temporary, self._path)
        except Exception as error:
            self._error = error
            # The others go on handing blocks over until they learn of it.
            while self._blocks.get() is not None:
                pass
