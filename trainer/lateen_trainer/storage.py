"""Where things are kept: folders named by a path or URL, as TensorStore key-value stores.

The cache of tokens and the checkpoints both live in such folders. A folder is a plain path (relative to the
working directory, `~` is the home directory), `file:///path`, `gs://bucket/path` or `memory://name`
(kept in a `tensorstore.Context`, for tests).
"""

import difflib
import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
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

_ENVIRONMENT = {
    "TENSORSTORE_CURL_CONNECT_TIMEOUT_SECONDS": "10",
    "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1",
    "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": "30",
}
"""For TensorStore, which would wait without end for a server that does not answer: where nothing has come for half a
minute, the request has failed and is tried again. The metadata server that gives tokens is asked in the same way."""

_PROBE = ".lateen-probe"
_OS_ERROR = re.compile(r"\[os_error_code='(\d+)'\]")
ELSEWHERE = "name a folder elsewhere"
_UNREACHABLE = re.compile(r"UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED: (.*: )?All \d+ retry attempts failed")
_BAD_TOKEN = re.compile(r"UNAUTHENTICATED|.*\[http_response_code='401'\]", re.DOTALL)
_BODY = re.compile(r" \[http_response_body='(?:[^'\\]|\\.)*'\]", re.DOTALL)
"""What TensorStore quotes of an answer; the message in it stands before it."""
_RIGHT = re.compile(r"storage\.objects\.(\w+)")
_PURPOSES = {
    "get": "to read objects",
    "create": "to write objects",
    "delete": "to overwrite and delete objects",
    "list": "to list objects",
}


class StoreTrouble(StrEnum):
    """Why an object store did not do what was asked of it."""

    UNREACHABLE = "unreachable"
    """It does not answer, or with errors of its own. That may pass."""

    BAD_TOKEN = "bad token"
    """It does not take the token, which has expired or was withdrawn. Another process gets another one."""

    REFUSED = "refused"
    """A right is missing. Only a person can help."""


class StoreError(TrainerError):
    """An object store does not answer, or does not take the token."""


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
            _prepare_environment()
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
    """Writes something small into a folder of an object store, reads it, lists it and deletes it: each needs a right.

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
            # A name of its own: other hosts do the same.
            name = f"{_PROBE}-{uuid.uuid4().hex[:8]}"
            store.write(name, b"").result()
            store.read(name).result()
            # TensorStore's list is empty where it may not list.
            if not store.list(ts.KvStore.KeyRange(name, f"{name}\0")).result():
                raise ValueError("PERMISSION_DENIED: what was written is not listed, which needs storage.objects.list")
            store.write(name, None).result()


def open_store(url: str, *, field: str) -> ts.KvStore:
    """The folder `url` for a run that has begun: requests are tried again for as long as `RETRIES` says."""
    return ts.KvStore.open(kvstore_spec(url, field=field), context=ts.Context(RETRIES)).result()


def _open_with_few_tries(url: str, *, field: str) -> ts.KvStore:
    return ts.KvStore.open(kvstore_spec(url, field=field), context=ts.Context(_FIRST_TRIES)).result()


def _prepare_environment() -> None:
    """Sets what TensorStore and gcsfs read from the environment, where it does not say otherwise."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        os.environ.setdefault("TENSORSTORE_GCS_HTTP_URL", emulator)
        # gcsfs would ask it for a minute, by a protocol that no emulator speaks, of which kind a bucket is.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


@contextmanager
def explained(url: str, *, field: str, needed: int | None = None) -> Iterator[None]:
    """Turns what TensorStore raises about the folder `url` into an error that says what to do.

    Args:
        url: path or URL of the folder.
        field: the job's field that names it.
        needed: bytes that are about to be written, for the message when the disk is full.

    Raises:
        UserError: the disk is full, access is denied, or there can be no such folder.
        StoreError: the object store cannot be reached, or does not take the token.
        TrainerError: the disk fails.
    """
    try:
        yield
    except ValueError as error:  # what TensorStore raises for all of its absl::Status codes
        known = explanation(str(error), url, field=field, needed=needed)
        if known is None:
            raise
        raise known from error


def explanation(text: str, url: str, *, field: str, needed: int | None = None) -> TrainerError | None:
    """What TensorStore says about the folder `url`, as an error that says what to do; None: it is not known.

    The arguments are those of `explained`.
    """
    kind, text = trouble(text, url), _BODY.sub("", text)
    match kind:
        case StoreTrouble.UNREACHABLE:
            return StoreError(
                f"{field} is {url!r}: the object store cannot be reached ({text}). Check this machine's network, "
                "or name a folder elsewhere."
            )
        case StoreTrouble.BAD_TOKEN:
            return StoreError(f"{field} is {url!r}: {bad_token(text)} ({text})")
    what = _known_error(text, url, needed)
    if what is None:
        return None
    cls = TrainerError if os_errors.may_pass(os_error_number(text)) else UserError
    return cls(f"{field} is {url!r}: {what} ({text})")


def trouble(text: str, url: str) -> StoreTrouble | None:
    """Why an object store did not do what was asked of it; None: `url` is on this machine, or it is something else.

    Args:
        text: what TensorStore says.
    """
    if local_path(url) is not None:
        return None
    if _UNREACHABLE.match(text):
        return StoreTrouble.UNREACHABLE
    if _BAD_TOKEN.match(text):
        return StoreTrouble.BAD_TOKEN
    return StoreTrouble.REFUSED if text.startswith("PERMISSION_DENIED") else None


def _known_error(text: str, url: str, needed: int | None) -> str | None:
    """What went wrong and what to do about it; None: it is no error of the user's."""
    number = os_error_number(text)
    if number == errno.ENOSPC and needed is not None:
        path = local_path(url)
        free = "" if path is None else f", {os_errors.free_bytes(path)} are free"
        return f"the disk is full: about {needed:,} bytes more are needed{free}. Make room, or {ELSEWHERE}."
    if why := os_errors.cause(number, local_path(url), elsewhere=ELSEWHERE):
        return why
    if text.startswith("PERMISSION_DENIED"):
        return (
            f"access is denied{missing_right(text)}. Give the pods' service account (spec.compute.serviceAccount) the "
            "role Storage Object User on the bucket; on your own machine run `gcloud auth application-default login`."
        )
    if text.startswith("NOT_FOUND") and local_path(url) is None:
        return "there is no such bucket. Correct its name, or create it."
    return None


def bad_token(text: str) -> str:
    """What is wrong with the token that an object store does not take, and what to do, by what Cloud Storage says."""
    remedy = (
        "on Google Cloud look at the pods' service account (spec.compute.serviceAccount); on your own machine run "
        "`gcloud auth application-default login`."
    )
    if "Anonymous caller" in text:
        return f"no credentials were found, or the metadata server that gives them did not answer: {remedy}"
    return (
        "the object store does not take the token of the credentials. It may have expired or been withdrawn, then the "
        f"next attempt gets another one; else {remedy}"
    )


def missing_right(text: str) -> str:
    """`: the right storage.objects.… is missing, …`, from what Cloud Storage says; empty where it names none."""
    match = _RIGHT.search(text)
    if match is None:
        return ""
    purpose = _PURPOSES.get(match[1])
    return f": the right {match[0]} is missing{f', which it takes {purpose}' if purpose else ''}"


def may_pass(error: ValueError) -> bool:
    """Whether what TensorStore raises may be over when the same is tried again."""
    text = str(error)
    number = os_error_number(text)
    if number is not None:
        return os_errors.may_pass(number)
    passing = (_UNREACHABLE, _BAD_TOKEN)
    return text.startswith("RESOURCE_EXHAUSTED") or any(pattern.match(text) for pattern in passing)


def os_error_number(text: str) -> int | None:
    """The system's `errno` in what TensorStore says; None: it was no error of the system's."""
    match = _OS_ERROR.search(text)
    return None if match is None else int(match[1])
