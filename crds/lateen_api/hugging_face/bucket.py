"""Does Google's object store answer, and has it a bucket? Asked before a client library is, which tries on for long."""

import functools
import os
import time
import urllib.error
import urllib.parse
import urllib.request

GOOGLE = "https://storage.googleapis.com"
TRIES = 3
TIMEOUT = 5.0
"""Seconds for one try."""

PAUSE = 0.5
"""Seconds between two tries."""


@functools.cache
def check_bucket(bucket: str) -> None:
    """Returns if the object store answers and does not say that there is no such bucket. Whether one may read it is
    left to the code that does: the request has no credentials.

    gcsfs goes on for half a minute where nothing answers. An emulator is asked where STORAGE_EMULATOR_HOST names one,
    as gcsfs does.

    Args:
        bucket: its name.

    Raises:
        FileNotFoundError: there is no such bucket.
        ConnectionError: nothing answers; the message says why.
    """
    url = f"{_endpoint()}/storage/v1/b/{urllib.parse.quote(bucket, safe='')}"
    for left in reversed(range(TRIES)):
        try:
            urllib.request.urlopen(url, timeout=TIMEOUT).close()
            return
        except urllib.error.HTTPError as answer:
            answer.close()
            if answer.code == 404:
                raise FileNotFoundError(bucket) from answer
            return
        except OSError as error:  # also urllib's URLError, and timeouts
            if not left:
                raise ConnectionError(str(getattr(error, "reason", error))) from error
        time.sleep(PAUSE)


def _endpoint() -> str:
    """Address of the object store."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if emulator in ("", "default"):
        return GOOGLE
    return (emulator if emulator.startswith(("http://", "https://")) else f"http://{emulator}").rstrip("/")
