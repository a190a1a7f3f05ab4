"""The builders of token caches (`spec.data.prepare`): created while they are wanted, and deleted when not."""

from dataclasses import dataclass

from lateen_operator.cluster.apply import Apply
from lateen_operator.cluster.client import Client
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.preparation import useless_builders, wants_builders
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS
from lateen_operator.manifests.builders import NewBuilders, builders_config_map, builders_job_set
from lateen_operator.manifests.owner import Owner
from lateen_operator.observation import Observation
from lateen_operator.reconcile import Decision
from lateen_operator.resolve import Resolved


@dataclass(frozen=True)
class Builders:
    """Keeps the builders of all jobs."""

    client: Client
    store: InformerCache
    apply: Apply

    async def keep(
        self, key: Key, owner: Owner, resolved: Resolved | None, seen: Observation, decision: Decision
    ) -> None:
        """Deletes the builders of a job that are not wanted, and creates those that are.

        Raises:
            NameTaken: there is another's object in the way.
            ApiError: the API server does not do it.
        """
        objects = self.store.get(key)
        wanted = wants_builders(seen, decision)
        useless = useless_builders(objects, seen, wanted=wanted)
        if useless is not None:
            for config_map in objects.builder_config_maps:
                await self.client.delete(CONFIG_MAPS, key.namespace, config_map.name, config_map.uid)
                self.store.drop(key, CONFIG_MAPS, config_map)
            # In the foreground: the name is free when its pods are gone.
            await self.client.delete(JOB_SETS, key.namespace, useless.name, useless.uid, "Foreground")
            return
        if not wanted or objects.builders is not None or resolved is None:
            return
        if resolved.target.builders is None or resolved.target.builders != seen.target.builders:
            return
        new = NewBuilders(owner, resolved, self.apply.settings)
        await self.apply.ensure_network_policy(key, owner)
        await self.apply.create_config_map(owner, builders_config_map(new))
        await self.apply.create(owner, JOB_SETS, builders_job_set(new))
