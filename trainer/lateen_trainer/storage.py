"""Where things are kept: folders named by a path or URL, as TensorStore key-value stores.

The cache of tokens and the checkpoints both live in such folders. A folder is a plain path (relative to the
working directory, `~` is the home directory), `file:///path`, `gs://bucket/path` or `memory://name`
(kept in a `tensorstore.Context`, for tests).
"""

import difflib
import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorstore as ts
from lateen_api import os_errors
from lateen_api.escaping import escaped

from lateen_trainer.errors import TrainerError, UserError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SCHEMES = ("file", "gs", "memory")
_FIRST_TRIES = {"gcs_request_retries": {"max_retries": 4, "initial_delay": "500ms", "max_delay": "4s"}}
"""Some seconds, where TensorStore would go on for a quarter of an hour. That suits a run that has begun, but who has no
network, or has mistyped the name of a bucket, should hear of it at once."""
RETRIES = {"gcs_request_retries": {"max_retries": 10, "initial_delay": "500ms", "max_delay": "16s"}}
"""For TensorStore's context of a run that has begun: an object store may be away for about a minute and a half."""

_PROBE = ".lateen-probe"
_OS_ERROR = re.compile(r"\[os_error_code='(\d+)'\]")
ELSEWHERE = "name a folder elsewhere"
_UNREACHABLE = re.compile(r"UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED: (.*: )?All \d+ retry attempts failed")


def join(url: str, *parts: str) -> str:
    """`parts` below the folder `url`, with single slashes between."""
    # A root ("/", "gs://") keeps its slashes; there is nothing before them to separate.
    base = url if url.endswith("://") else url.rstrip("/") + "/"
    return base + "/".join(part.strip("/") for part in parts)


def local_path(url: str) -> Path | None:
    """The absolute path of a folder on this machine; None: it is elsewhere."""
    match = _URL.fullmatch(url)
    if match is None:
        return Path(url).expanduser().absolute()
    scheme, rest = match.groups()
    # As fsspec reads it, which opens the sources: no percent-decoding, and no host in front of the path.
    return Path(rest).expanduser().absolute() if scheme.lower() == "file" else None


def kvstore_spec(url: str, *, field: str) -> dict[str, Any]:
    """TensorStore's description of the folder `url`: its keys are the names of files below it.

    Args:
        url: path or URL of a folder.
        field: the job's field that names it, for messages (`spec.data.cacheDir`).

    Raises:
        UserError: the scheme is none that TensorStore can write to, the bucket is missing, or the name is not UTF-8.
    """
    path = local_path(url)
    if escaped(shown := str(path or url)) != shown:
        raise UserError(f"{field} is '{escaped(shown)}': the name is not UTF-8. Rename the folder, or {ELSEWHERE}.")
    if path is not None:
        return {"driver": "file", "path": f"{str(path).rstrip('/')}/"}
    scheme, rest = _URL.fullmatch(url).groups()  # type: ignore[union-attr]  # a URL, or it were a path
    bucket, _, key = rest.partition("/")
    key = key.strip("/")
    match scheme.lower():
        case "memory":
            return {"driver": "memory", "path": rest.strip("/") + "/"}
        case "gs" if bucket:
            _share_emulator()
            return {"driver": "gcs", "bucket": bucket, "path": f"{key}/" if key else ""}
        case "gs":
            raise UserError(f"{field} is {url!r}: the bucket is missing, expected gs://bucket/path.")
    near = difflib.get_close_matches(scheme.lower(), [*_SCHEMES, "gcs"], n=1)
    hint = f" Did you mean {'gs' if near[0] == 'gcs' else near[0]}://?" if near else ""
    raise UserError(
        f"{field} is {url!r}: {scheme}:// cannot be written to, expected a path, file://, or gs://bucket/path.{hint}"
    )


def check_reachable(url: str, *, field: str) -> None:
    """Returns as soon as the object store that holds `url` answers, whatever it says; at once for a folder of this
    machine.

    Raises:
        UserError: TensorStore knows no such URL.
        ValueError: it does not answer; TensorStore's error.
    """
    if local_path(url) is None:
        try:
            _open_with_few_tries(url, field=field).read(_PROBE).result()
        except ValueError as error:
            if _UNREACHABLE.match(str(error)):
                raise


def check_writable(url: str, *, field: str) -> None:
    """Writes something small into a folder of an object store, and deletes it.

    A folder on this machine is left alone: what is wrong with it shows at its first use, without delay.

    Args:
        url: path or URL of the folder.
        field: the job's field that names it.

    Raises:
        UserError: there is no such bucket, or access is denied.
        TrainerError: the object store cannot be reached.
    """
    if local_path(url) is None:
        with explained(url, field=field):
            store = _open_with_few_tries(url, field=field)
            store.write(_PROBE, b"").result()
            store.write(_PROBE, None).result()


def _open_with_few_tries(url: str, *, field: str) -> ts.KvStore:
    return ts.KvStore.open(kvstore_spec(url, field=field), context=ts.Context(_FIRST_TRIES)).result()


def _share_emulator() -> None:
    """An emulator of the object store that gcsfs has been told of is TensorStore's, too."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        os.environ.setdefault("TENSORSTORE_GCS_HTTP_URL", emulator)


@contextmanager
def explained(url: str, *, field: str, needed: int | None = None) -> Iterator[None]:
    """Turns what TensorStore raises about the folder `url` into an error that says what to do.

    Args:
        url: path or URL of the folder.
        field: the job's field that names it.
        needed: bytes that are about to be written, for the message when the disk is full.

    Raises:
        UserError: the disk is full, access is denied, or there can be no such folder.
        TrainerError: the object store cannot be reached, or the disk fails.
    """
    try:
        yield
    except ValueError as error:  # what TensorStore raises for all of its absl::Status codes
        if _UNREACHABLE.match(str(error)) and local_path(url) is None:
            raise TrainerError(
                f"{field} is {url!r}: the object store cannot be reached ({error}). Check this machine's network, "
                "or name a folder elsewhere."
            ) from error
        what = _known_error(str(error), url, needed)
        if what is None:
            raise
        kind = TrainerError if os_errors.may_pass(os_error_number(str(error))) else UserError
        raise kind(f"{field} is {url!r}: {what} ({error})") from error


def _known_error(text: str, url: str, needed: int | None) -> str | None:
    """What went wrong and what to do about it; None: it is no error of the user's."""
    number = os_error_number(text)
    if number == errno.ENOSPC and needed is not None:
        path = local_path(url)
        free = "" if path is None else f", {os_errors.free_bytes(path)} are free"
        return f"the disk is full: about {needed:,} bytes more are needed{free}. Make room, or {ELSEWHERE}."
    if why := os_errors.cause(number, local_path(url), elsewhere=ELSEWHERE):
        return why
    if text.startswith(("PERMISSION_DENIED", "UNAUTHENTICATED")):
        return (
            "access is denied. Give the pods' service account (spec.compute.serviceAccount) the role Storage "
            "Object User on the bucket; on your own machine run `gcloud auth application-default login`."
        )
    if text.startswith("NOT_FOUND") and local_path(url) is None:
        return "there is no such bucket. Correct its name, or create it."
    return None


def may_pass(error: ValueError) -> bool:
    """Whether what TensorStore raises may be over when the same is tried again."""
    text = str(error)
    number = os_error_number(text)
    if number is not None:
        return os_errors.may_pass(number)
    return text.startswith("RESOURCE_EXHAUSTED") or _UNREACHABLE.match(text) is not None


def os_error_number(text: str) -> int | None:
    """The system's `errno` in what TensorStore says; None: it was no error of the system's."""
    match = _OS_ERROR.search(text)
    return None if match is None else int(match[1])
