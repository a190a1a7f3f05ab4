"""Which builder is at work on which part, agreed on through the storage alone.

A lease is a small object that its builder writes where there was none (a conditional write: of generations on Cloud
Storage, under TensorStore's lock in files) and renews. A builder that wants the part takes a lease over once it has not
changed for `SECONDS` by this builder's clock, or at once if it is of a process of this machine that is gone: clocks of
different machines are never compared. Two builders that both believe to have a part write the same bytes into it; a
lease saves work, and nothing depends on it.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorstore as ts

from lateen_trainer.data.ledger import LEASES, name_of

SECONDS = 20.0
"""Without a renewal after which a lease counts for nothing."""

log = logging.getLogger(__name__)


class Lease:
    """A part that this process has taken; it is renewed by a thread until `release`."""

    def __init__(self, store: ts.KvStore, part: int, generation: bytes, seconds: float):
        self._store, self._key, self._generation = store, name_of(LEASES, part), generation
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, args=(seconds / 4,), name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Gives the part up, whether it is whole or not."""
        self._released.set()
        self._thread.join()
        try:
            self._store.write(self._key, None, if_equal=self._generation).result()
        except ValueError as error:  # it expires by itself
            log.warning("%s cannot be deleted: %s", self._key, error)

    def _renew(self, interval: float) -> None:
        while not self._released.wait(interval):
            try:
                generation = _replace(self._store, self._key, _content(), self._generation)
            except ValueError as error:
                log.warning("%s cannot be renewed: %s", self._key, error)
                continue
            if not generation:
                return  # another builder has taken the part; what both write is the same
            self._generation = generation


class Leases:
    """The leases of a cache.

    Args:
        store: the cache's folder.
        seconds: without a renewal after which a lease is taken over.
        clock: seconds on a monotonic clock.
    """

    def __init__(self, store: ts.KvStore, *, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic):
        self._store, self._seconds, self._clock = store, seconds, clock
        self._seen: dict[int, tuple[bytes, float]] = {}

    def take(self, part: int) -> Lease | None:
        """The lease of a part; None: another builder has it."""
        key = name_of(LEASES, part)
        found = self._store.read(key).result()
        generation = found.stamp.generation
        if found.state == "value" and not self._is_over(part, generation, found.value):
            return None
        taken = _replace(self._store, key, _content(), generation)
        return Lease(self._store, part, taken, self._seconds) if taken else None

    def _is_over(self, part: int, generation: bytes, content: bytes) -> bool:
        now = self._clock()
        known, since = self._seen.get(part, (b"", now))
        if generation != known:
            since = now
        self._seen[part] = (generation, since)
        return now - since >= self._seconds or _is_gone(content)


def _replace(store: ts.KvStore, key: str, content: bytes, generation: bytes) -> bytes:
    """Writes where nothing has changed since `generation`; the new generation, empty where something has.

    What was written may be this content: an object store did it, its answer was lost, and the next try was refused.
    """
    written = store.write(key, content, if_equal=generation).result().generation
    if written:
        return written
    found = store.read(key).result()
    return found.stamp.generation if found.state == "value" and found.value == content else b""


def _content() -> bytes:
    """Unlike anything that was written before, by this process too."""
    return json.dumps({**_myself(), "id": uuid.uuid4().hex}).encode()


def _myself() -> dict[str, Any]:
    """This process, so that others on the machine can tell whether it still runs."""
    return {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "started": _started(os.getpid())}


def _is_gone(content: bytes) -> bool:
    """Whether the process that wrote a lease was one of this machine and runs no more."""
    try:
        holder = json.loads(content)
        is_here = (holder["host"], holder["boot"]) == (socket.gethostname(), _boot()) and _boot() is not None
        return is_here and _started(int(holder["pid"])) != holder["started"]
    except (ValueError, KeyError, TypeError):
        return False


def _boot() -> str | None:
    """What tells this run of the machine's kernel from any other; None: not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None: there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
