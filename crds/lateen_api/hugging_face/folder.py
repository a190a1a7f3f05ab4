"""A folder in Hugging Face's format: on this machine, in a bucket, on a web server, or on the hub.

fsspec reads them all. It comes with `lateen[trainer]`; without it, folders of this machine can be read.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lateen_api.errors import JobError, UnreachableError
from lateen_api.hugging_face.bucket import check_bucket
from lateen_api.masking import masked
from lateen_api.os_errors import cause

CONFIG = "config.json"
_HUB = "hf://"
_NOT_LISTED = ("http://", "https://")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"gc?s://([^/]+)", re.IGNORECASE)


@dataclass(frozen=True)
class ModelFolder:
    """Where a model is."""

    url: str
    """As the job names it."""

    field: str
    """Of the job that names it; for messages."""

    @property
    def local(self) -> Path | None:
        """The folder on this machine; None: it is elsewhere."""
        match = _URL.fullmatch(self.url)
        if match is None:
            return Path(self.url).expanduser()
        return Path(match[2]) if match[1].lower() == "file" else None

    def filesystem(self) -> tuple[Any, str]:
        """The fsspec file system, and the folder's path in it.

        A model of the hub is the copy in the hub's cache where the hub may not be asked (HF_HUB_OFFLINE).

        Raises:
            JobError: a package is missing, the scheme is not known, the model is not in the cache, or there is no such
                bucket.
            UnreachableError: the bucket's object store does not answer.
        """
        try:
            import fsspec
        except ImportError as error:
            raise self.error("reading it needs fsspec. Install lateen[trainer], or state spec.model.") from error
        if self.local is not None:
            return fsspec.filesystem("file"), str(self.local)
        self._check_bucket()
        try:
            if self.url.startswith(_HUB):
                return _hub(self.url.removeprefix(_HUB).strip("/"))
            filesystem, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
            return filesystem, str(root).rstrip("/")
        except (ImportError, ValueError, OSError) as error:
            raise self.error(
                f"{_first_line(error)} Expected a folder, gs://bucket/path, https://…, or hf://org/name@revision."
            ) from error

    def _check_bucket(self) -> None:
        bucket = _BUCKET.match(self.url)
        if bucket is None:
            return
        try:
            check_bucket(bucket[1])
        except FileNotFoundError as error:
            raise self.error("there is no such bucket. Correct its name, or create it.") from error
        except ConnectionError as error:
            raise self._unreachable(f"the object store cannot be reached ({error}).") from error

    def read(self, name: str) -> bytes | None:
        """Content of a file; None: there is none.

        Raises:
            JobError: it cannot be read.
            UnreachableError: the server does not answer.
        """
        try:
            if self.local is not None:
                return (self.local / name).read_bytes()
            filesystem, root = self.filesystem()
            return filesystem.cat_file(f"{root}/{name}")
        except FileNotFoundError:
            return None
        except JobError:
            raise
        except Exception as error:  # also of the client libraries of buckets and servers
            if getattr(error, "status", None) == 404 or getattr(error, "code", None) == 404:
                return None
            raise self._unreadable(f"{name} cannot be read", error) from error

    def names(self) -> list[str]:
        """Names of what the folder holds; none for a folder that does not exist, or that cannot be listed (`https://`).

        Raises:
            JobError: it cannot be read.
        """
        try:
            if self.local is not None:
                return sorted(path.name for path in self.local.iterdir())
            if self.url.lower().startswith(_NOT_LISTED):
                return []
            filesystem, root = self.filesystem()
            return sorted(str(path).rstrip("/").rpartition("/")[2] for path in filesystem.ls(root, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except JobError:
            raise
        except Exception as error:  # also of the client libraries of buckets
            raise self._unreadable("it cannot be listed", error) from error

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Content of a JSON file; None: there is none.

        Raises:
            JobError: it cannot be read, or is no JSON object.
        """
        content = self.read(name)
        if content is None:
            return None
        try:
            body = json.loads(content)
        except ValueError as error:
            raise self.error(f"{name} is not JSON ({error}). Put the right file back.") from error
        if not isinstance(body, dict):
            raise self.error(f"{name} holds {type(body).__name__}: expected a JSON object.")
        return body

    def _hint(self) -> str:
        is_on_hub = self.url.startswith(_HUB)
        return " Of a private or gated model the hub gives nothing without HF_TOKEN." if is_on_hub else ""

    def _unreadable(self, what: str, error: Exception) -> JobError:
        """The error for one of the system or of a client library."""
        if _is_without_answer(error):
            return self._unreachable(f"{what}: {_first_line(error)}")
        if isinstance(error, OSError):
            why = cause(error.errno, elsewhere="name another folder") or f"{_first_line(error)}{self._hint()}"
            return self.error(f"{what}: {why}")
        return self.error(f"{what}: {type(error).__name__}: {_first_line(error)}")

    def _unreachable(self, message: str) -> UnreachableError:
        return UnreachableError(
            self.field, f"is {masked(self.url)!r}: {message} Check this machine's network, or name a folder elsewhere."
        )

    def error(self, message: str) -> JobError:
        """The error that says what is wrong with the folder."""
        return JobError(self.field, f"is {masked(self.url)!r}: {message}")


def _is_without_answer(error: Exception) -> bool:
    """Was there no answer? Errors of client libraries (aiohttp, requests, httpx) are known by their names, so that none
    of them is imported for it."""
    return isinstance(error, TimeoutError) or any("Connect" in kind.__name__ for kind in type(error).__mro__)


def _first_line(error: Exception) -> str:
    lines = masked(str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."


def _hub(name: str) -> tuple[Any, str]:
    from huggingface_hub import HfFileSystem, constants, snapshot_download

    repository, _, revision = name.partition("@")
    if constants.is_offline_mode():
        import fsspec

        return fsspec.filesystem("file"), snapshot_download(
            repository, revision=revision or None, local_files_only=True
        )
    return HfFileSystem(), name
