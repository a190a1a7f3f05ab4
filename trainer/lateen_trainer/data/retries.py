"""Reads that fail are tried again, for a while; those that are slow are reported."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from lateen_trainer import storage

DELAYS = (5.0, 15.0, 30.0)
"""Seconds before each further try. TensorStore has tried for a minute and a half each time (`storage.RETRIES`)."""

SLOW_SECONDS = 30.0

log = logging.getLogger(__name__)

T = TypeVar("T")


def retried(
    read: Callable[[], T],
    *,
    url: str,
    field: str,
    on_retry: Callable[[], None],
    delays: Sequence[float] = DELAYS,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """What `read` returns, tried again where it fails by what may pass.

    Args:
        read: raises ValueError as TensorStore does.
        url: what is read from, for messages.
        field: the job's field that names it.
        on_retry: called before each further try.
        delays: seconds to wait before each of them.

    Raises:
        TrainerError: the last try failed too: names the storage.
        UserError: access is denied, or there is no such bucket.
    """
    began = clock()
    for delay in (*delays, None):
        with storage.explained(url, field=field):
            try:
                result = read()
            except ValueError as error:
                if delay is None or not storage.may_pass(error):
                    raise
                log.warning("Reading %s failed, it is tried again in %g s: %s", url, delay, error)
            else:
                if (seconds := clock() - began) > SLOW_SECONDS:
                    log.warning("Reading %s took %.0f s.", url, seconds)
                return result
        on_retry()
        sleep(delay or 0.0)
    raise AssertionError("the last try returns or raises")
