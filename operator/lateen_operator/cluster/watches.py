"""How each watch is: when something came over it last, and whether the API server refuses it.

The API server sends a bookmark over a quiet watch about once a minute and ends it after an hour at the latest, so one
over which nothing has come for much longer than that minute is dead, however quiet the cluster is.
"""

from collections.abc import Callable, Sequence

from lateen_operator.cluster.resources import WATCHED, Resource


class Watches:
    """The watches of all kinds, one for each namespace that is watched.

    Args:
        clock: seconds, never going back.
        namespaces: that are watched; empty: all by one watch.
    """

    def __init__(self, clock: Callable[[], float], namespaces: Sequence[str] = ()):
        self._clock = clock
        self._resources = {
            resource.path(namespace): resource for resource in WATCHED for namespace in namespaces or (None,)
        }
        self._last = dict.fromkeys(self._resources, clock())
        self._refusals: dict[str, str] = {}

    def path_of(self, url_path: str) -> str | None:
        """The path of the watch that a request with this path belongs to; None: to none of them."""
        # The API server may lie behind a path of its own.
        return next((path for path in self._resources if url_path.endswith(path)), None)

    def resource_of(self, path: str) -> Resource:
        """The kind that the watch of this path watches."""
        return self._resources[path]

    def alive(self, path: str) -> None:
        """Something came over the watch of this path: an event, a bookmark, or the answer to its request."""
        self._last[path] = self._clock()

    def refused(self, path: str, why: str) -> bool:
        """The API server refuses the watch of this path. Returns whether that is news."""
        is_news = self._refusals.get(path) != why
        self._refusals[path] = why
        return is_news

    def accepted(self, path: str) -> bool:
        """The API server does not refuse the watch of this path. Returns whether that is news."""
        return self._refusals.pop(path, None) is not None

    @property
    def refusals(self) -> list[str]:
        """Why watches are refused, each reason once."""
        return list(dict.fromkeys(self._refusals.values()))

    def age(self, resource: Resource) -> float:
        """Seconds since the last sign of life of the kind's watch; of several watches, the longest such time."""
        return max(age for path, age in self.ages().items() if self._resources[path] is resource)

    def ages(self) -> dict[str, float]:
        """Seconds since the last sign of life of each watch, by its path."""
        now = self._clock()
        return {path: now - last for path, last in self._last.items()}
