"""What a file system says of a file, as what a cache needs to know of it."""

import logging
import stat
from pathlib import Path
from typing import Any

from lateen_api.masking import masked

from lateen_trainer.data.source import SourceFile, explained
from lateen_trainer.errors import UserError

LOCAL = ("", "file", "local")
"""Schemes of this machine's own files."""

_STAMPS = (
    *("etag", "ETag", "Content-MD5", "Digest", "generation", "md5Hash", "blob_id"),
    *("LastModified", "Last-Modified", "last_modified", "mtime", "created"),
)
"""Where the file systems of fsspec keep what changes with a file's content, the strongest first."""

log = logging.getLogger(__name__)


def source_file(path: str, info: dict[str, Any], scheme: str, url: str, field: str) -> SourceFile:
    """Describes the file that a file system calls `path` and we call `url`.

    Raises:
        UserError: it is a folder, a device, or a link to nothing.
    """
    if scheme in LOCAL:
        with explained(field, url):
            status = Path(path).stat()
        if stat.S_ISREG(status.st_mode):
            return SourceFile(url, path, status.st_size, str(status.st_mtime_ns))
    elif info["type"] != "directory":
        stamp = next((str(info[key]) for key in _STAMPS if info.get(key)), "")
        if not stamp:
            log.warning(
                "%s: the server of %s gives neither ETag nor Last-Modified: should the file be replaced by another one "
                "of equal size, its old tokens are used. Give a new file a new name.",
                field, masked(url),
            )  # fmt: skip
        return SourceFile(url, url, int(info.get("size") or 0), stamp, is_transcoded=_is_transcoded(info, scheme))
    raise UserError(
        f"{field} names {url!r}, which is a folder or a device: expected files. To read all files of a folder, "
        f"write {url.rstrip('/')}/*, or {url.rstrip('/')}/**/* with all folders below it."
    )


def _is_transcoded(info: dict[str, Any], scheme: str) -> bool:
    """Whether a server may decompress the file on its way: what GCS keeps with Content-Encoding: gzip, and what a
    web server gives no size for."""
    return info.get("contentEncoding") == "gzip" or (scheme.startswith("http") and not info.get("size"))
