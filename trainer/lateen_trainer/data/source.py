"""A file that text is read from, and what can go wrong on the way to it, in words that say what to do."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lateen_api.masking import masked, without_signature

from lateen_trainer.errors import TrainerError, UserError
from lateen_trainer.storage import StoreError, bad_token, missing_right

_CREDENTIALS = {
    "gs": "On Google Cloud give the pods' service account (spec.compute.serviceAccount) the role Storage "
    "Object User on the bucket; on your own machine run `gcloud auth application-default login`.",
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (spec.compute.secrets), or give the pods' "
    "service account a role that may read the bucket.",
}


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set."""

    url: str
    """What messages call it; files are ordered by it."""

    path: str
    """What fsspec opens."""

    size: int
    """Bytes as stored; 0 where a server does not say."""

    stamp: str
    """Changes when the content does: an object's ETag or generation, a local file's modification time."""

    is_transcoded: bool = False
    """The server decompresses it on its way, or may do so: `size` is not that of what arrives."""


def digest(files: Iterable[SourceFile]) -> str:
    """Hex digest of a list of files, in order.

    The folder plays no part: the same files moved elsewhere are the same data. The name does, since its
    suffix says how a file is read. A signature in it does not where a stamp tells contents apart: it is renewed
    every few hours.
    """
    rows = [[_name(file), file.size, file.stamp] for file in files]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _name(file: SourceFile) -> str:
    if not file.url.startswith(("http://", "https://")):
        return PurePosixPath(file.url).name
    # A query may hold slashes, and what stands behind them is no name.
    path, mark, query = file.url.partition("?")
    name = f"{PurePosixPath(path).name}{mark}{query}"
    return without_signature(name) if file.stamp else name


def to_json(files: Iterable[SourceFile]) -> list[dict[str, object]]:
    """The files as the cache's ledger lists them: without secrets, since all who may read the cache read it."""
    return [{"url": masked(file.url), "size": file.size, "stamp": file.stamp} for file in files]


@contextmanager
def explained(field: str, url: str) -> Iterator[None]:
    """Turns what file systems raise about `url` into an error that names the field and says what to do.

    Raises:
        UserError: there is no such file or bucket, no access to it, or a package is missing.
        TrainerError: the server cannot be reached, or answers with an error of its own.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(
            f"{field} names {url!r}, which does not exist: expected a file that this machine can see. "
            f"Correct the path (relative ones start at the working directory, {Path.cwd()}) or the bucket."
        ) from error
    except PermissionError as error:
        raise UserError(
            f"{field} names {url!r}, which user {os.geteuid()} may not read: expected read permission on "
            f"the file and its folders. Change the permissions or run as another user. ({error})"
        ) from error
    except ImportError as error:
        raise UserError(
            f"{field} names {url!r}: this scheme needs a package that is not installed. {error}."
        ) from error
    except TrainerError:
        raise
    except Exception as error:
        known = _remote_error(field, url, error)
        if known is None:
            raise
        raise known from error


def _remote_error(field: str, url: str, error: Exception) -> TrainerError | None:
    """The error of a remote file system in our words; None: it is none that we know.

    The classes are told by their module's name, so that a client library is imported only where it is used.
    """
    scheme = url.partition("://")[0].lower().replace("gcs", "gs").replace("s3a", "s3")
    package = type(error).__module__.partition(".")[0]
    code = _http_status(error)
    if code in (401, 403) or _is_credentials_error(error):
        hint = _CREDENTIALS.get(scheme, "Supply credentials that may read it.")
        if scheme == "gs" and code == 401:
            return StoreError(f"{field} names {url!r}: {bad_token(str(error))} ({_first_line(error)})")
        right = missing_right(str(error))
        return UserError(f"{field} names {url!r}, but access is denied{right}: {_first_line(error)} {hint}")
    if code == 404:
        return UserError(
            f"{field} names {url!r}, which does not exist: {_first_line(error)} Correct the name of the bucket or file."
        )
    if isinstance(error, ConnectionError | TimeoutError):
        return TrainerError(
            f"{field} names {url!r}, whose server cannot be reached: {_first_line(error)} Check this machine's "
            "network, and the address."
        )
    if package in ("aiohttp", "botocore", "gcsfs", "huggingface_hub", "requests"):
        return TrainerError(f"{field} names {url!r}, whose server fails: {_first_line(error)}")
    return None


def _http_status(error: Exception) -> int | None:
    if type(error) is OSError and str(error).startswith("Forbidden: "):  # how gcsfs says it
        return 403
    code = getattr(error, "code", None) or getattr(error, "status", None)  # gcsfs, aiohttp
    return int(code) if isinstance(code, int | str) and str(code).isdigit() else None


def _is_credentials_error(error: Exception) -> bool:
    module, name = type(error).__module__, type(error).__name__
    return module.startswith("google.auth") or (module.startswith("botocore") and "Credentials" in name)


def _first_line(error: Exception) -> str:
    text = masked(str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
    return f"{text[:300]}."
