"""How kopf watches: what it asks for, how long it waits, and that it writes nothing."""

from typing import Any

import kopf

from lateen_operator.cluster.resources import WATCHED

INACTIVITY_SECONDS = 120.0
"""A watch over which nothing has come for so long is requested again. The API server sends a bookmark every minute."""


def watch_settings() -> kopf.OperatorSettings:
    """Settings for `kopf.operator`."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    # Kinds and namespaces are known: no need to watch CRDs and namespaces, nor for the right to.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.watching.inactivity_timeout = INACTIVITY_SECONDS
    settings.watching.connect_timeout = 10.0
    settings.watching.reconnect_backoff = 0.2
    for resource in WATCHED:
        if resource.selector:
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = resource.selector
    # An API server that is away for a minute or two must not end the watches, nor find them asleep when it is back.
    settings.networking.error_backoffs = (0.2, 0.5, 1.0, 2.0, *([3.0] * 40))
    settings.networking.request_timeout = 60.0
    # A task for every object that changed lately; with thousands of pods they would add up.
    settings.queueing.idle_timeout = 0.5
    settings.queueing.exit_timeout = 0.5
    # kopf kills the process when its end takes longer. It waits 5 s for tasks of ours that it takes for its own.
    settings.process.ultimate_exiting_timeout = 30.0
    return settings


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing of objects: what changed in one is no question that we ask, and the answer costs a deep copy."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress: handlers of events have none."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence
