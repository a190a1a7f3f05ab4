"""When each watch last gave a sign of life: an event, or the API server's answer to its question for more.

A quiet watch is asked for anew every few minutes at the latest (`watching.inactivity_timeout`), so one without a sign
for much longer is dead, however quiet the cluster is.
"""

from collections.abc import Callable

from lateen_operator.cluster.resources import WATCHED, Resource


class Watches:
    """Signs of life of the watches.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._started = clock()
        self._last = dict.fromkeys(WATCHED, self._started)

    @property
    def uptime(self) -> float:
        """Seconds since the watches were started."""
        return self._clock() - self._started

    def alive(self, resource: Resource) -> None:
        """The watch of this kind gave a sign of life."""
        self._last[resource] = self._clock()

    def answered(self, path: str, query: str) -> None:
        """The API server answered a request with this path and query."""
        if "watch=true" not in query:
            return
        for resource in WATCHED:
            if path.endswith(f"/{resource.plural}") and f"/{resource.version}/" in f"{path}/":
                self.alive(resource)

    def age(self, resource: Resource) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self._last[resource]

    @property
    def oldest(self) -> float:
        """Age of the watch that has been quiet longest."""
        return max(self.age(resource) for resource in WATCHED)
