"""Events about jobs, which `kubectl describe` shows. They are news, not records: one that cannot be posted is logged.

A job that flaps must not flood the cluster: each has a bucket of tokens that fills slowly, as in client-go's recorder.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lateen_api.spec.job import API_VERSION, KIND

from lateen_operator.attempt_codec import timestamp
from lateen_operator.cluster.client import ApiError, Client
from lateen_operator.cluster.informer_cache import Key
from lateen_operator.cluster.resources import EVENTS
from lateen_operator.events import Event

BURST = 25.0
SECONDS_A_TOKEN = 30.0
MOST_WAITING = 10_000
_LONGEST_MESSAGE = 1024

log = logging.getLogger(__name__)


@dataclass
class _Bucket:
    tokens: float = BURST
    at: float = 0.0


@dataclass
class EventPoster:
    """Posts events, one after the other, while the workers have gone on.

    Args:
        client: calls the API server.
        clock: seconds since the epoch.
    """

    client: Client
    clock: Callable[[], float]
    _buckets: dict[Key, _Bucket] = field(default_factory=dict)
    _waiting: "asyncio.Queue[tuple[Key, dict[str, Any]]]" = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))

    def post(self, key: Key, uid: str, events: Sequence[Event]) -> None:
        """Has these events about a job posted."""
        for event in events:
            log.info("%s: %s: %s", key, event.reason, event.message)
            if not self._may_post(key):
                continue
            try:
                self._waiting.put_nowait((key, _manifest(key, uid, event, self.clock())))
            except asyncio.QueueFull:
                log.warning("%s: event %s is not posted: %d others wait", key, event.reason, MOST_WAITING)

    async def run(self) -> None:
        """Posts what waits, for ever."""
        while True:
            key, manifest = await self._waiting.get()
            try:
                await self.client.create(EVENTS, manifest)
            except ApiError as error:
                log.warning("%s: event %s is not posted: %s", key, manifest["reason"], error)

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._buckets.pop(key, None)

    def _may_post(self, key: Key) -> bool:
        now = self.clock()
        bucket = self._buckets.setdefault(key, _Bucket(at=now))
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / SECONDS_A_TOKEN)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _manifest(key: Key, uid: str, event: Event, now: float) -> dict[str, Any]:
    at = timestamp(now).split(".")[0] + "Z"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{key.name}.", "namespace": key.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": key.namespace,
            "name": key.name,
            "uid": uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:_LONGEST_MESSAGE],
        "source": {"component": "lateen"},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
