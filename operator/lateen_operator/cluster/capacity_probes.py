"""Capacity probes: pods that find out whether there is room for more hosts. As many as are wanted, and no more."""

import logging
from dataclasses import dataclass

from lateen_operator.cluster.client import Client, Conflict, Forbidden
from lateen_operator.cluster.garbage import missing_probes, useless_probes
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.resources import PODS
from lateen_operator.manifests.attempt import NewAttempt
from lateen_operator.manifests.capacity_probe import capacity_probe
from lateen_operator.manifests.owner import Owner
from lateen_operator.node_exclusion import failing_nodes, lost_nodes
from lateen_operator.observation import Observation
from lateen_operator.resize import probes_wanted
from lateen_operator.resolve import Resolved
from lateen_operator.settings import OperatorSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CapacityProbes:
    """Keeps the capacity probes of all jobs."""

    client: Client
    store: InformerCache
    settings: OperatorSettings

    async def keep(self, key: Key, owner: Owner, resolved: Resolved | None, seen: Observation, now: float) -> None:
        """Deletes the capacity probes that are not wanted, and creates those that are."""
        objects = self.store.get(key)
        # A lost node that the scheduler takes for a good one would seem to be room.
        may_look = resolved is not None and not lost_nodes(seen.attempts, now)
        wanted = probes_wanted(seen) if may_look else 0
        for pod in useless_probes(objects, wanted):
            await self.client.delete(PODS, key.namespace, pod.name, pod.uid)
            self.store.drop(key, PODS, pod)
        attempt = seen.attempt
        missing = missing_probes(objects, wanted)
        if not missing or attempt is None or resolved is None:
            return
        larger = NewAttempt(
            owner,
            attempt.number,
            resolved.at_hosts(attempt.hosts + wanted),
            self.settings,
            failing_nodes(seen.attempts, now),
        )
        for number in missing:
            try:
                self.store.put(PODS, await self.client.create(PODS, capacity_probe(larger, number)))
            except Conflict:
                # A former one that is still leaving; the watch tells when it has.
                continue
            except Forbidden as error:
                # A quota that is used up is no room either, and the job runs well as it is.
                log.info("%s: capacity probe %d is refused: %s", key, number, error)
                return
