"""From a decision to calls of the API server.

Any call may be the operator's last. So each leaves a state from which the next round goes on: objects are created in
the order in which they need each other, the JobSet, which makes an attempt one, last; what exists already is ours if
it belongs to the same job. ProgressHistory go into the store, so that the next decision knows of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lateen_api.status import JobStatus

from lateen_operator import names
from lateen_operator.attempts import Start
from lateen_operator.cluster.client import Client, Conflict, NotFound, is_there
from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.ledger import news_to_keep, stored_status
from lateen_operator.cluster.observe import job_set_of
from lateen_operator.cluster.refusals import NameTaken
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, NETWORK_POLICIES, Resource
from lateen_operator.cluster.status_patch import written
from lateen_operator.cluster.termination import Termination
from lateen_operator.cluster.views import JobSetView
from lateen_operator.manifests.attempt import NewAttempt
from lateen_operator.manifests.config_map import config_map
from lateen_operator.manifests.job_set import job_set
from lateen_operator.manifests.network_policy import network_policy
from lateen_operator.manifests.owner import Owner
from lateen_operator.resolve import Resolved
from lateen_operator.settings import OperatorSettings
from lateen_operator.verdict import Verdict


@dataclass(frozen=True)
class Apply:
    """Decisions on one cluster."""

    client: Client
    store: InformerCache
    settings: OperatorSettings

    async def start(
        self, key: Key, owner: Owner, resolved: Resolved, decision: Start, *, checkpoint_step: int | None = None
    ) -> None:
        """Creates an attempt: NetworkPolicy, ConfigMap, JobSet.

        Args:
            key, owner: of the job.
            resolved: the job.
            decision: number, hosts and nodes to avoid.
            checkpoint_step: of the last checkpoint that the attempts before it are known to have committed.

        Raises:
            NameTaken: there is another's object in the way, perhaps of a deleted job of this name. It may go.
            ApiError: the API server does not do it.
        """
        attempt = NewAttempt(
            owner=owner,
            number=decision.number,
            resolved=resolved.at_hosts(decision.hosts or resolved.target.hosts),
            settings=self.settings,
            avoid=decision.avoid,
            checkpoint_step=checkpoint_step,
        )
        await self.ensure_network_policy(key, owner)
        await self.create_config_map(owner, config_map(attempt, self.ledger_json(key)))
        await self.create(owner, JOB_SETS, job_set(attempt))

    async def stop(self, key: Key, attempt: int, cause: Verdict | None, now: float) -> None:
        """Has all pods of an attempt asked to terminate, and killed when their grace is over; notes why, for good."""
        current = job_set_of(self.store.get(key), attempt)
        if current is None or current.stopping is not None:
            return
        patch: dict[str, Any] = {
            "metadata": {"uid": current.uid, "annotations": {names.STOPPING: Termination(now, cause).to_json()}}
        }
        if current.queue is None:
            patch["spec"] = {"suspend": True}
        await self._patch_job_set(key, current, patch)

    async def finish_stop(self, key: Key, attempt: int) -> None:
        """Deletes the JobSet of an attempt that was asked to terminate, if a queue admitted it.

        Kueue resumes what it has admitted and somebody else suspended. In the foreground the JobSet stays, with its
        annotation, until its pods have left.
        """
        current = job_set_of(self.store.get(key), attempt)
        if current is None or current.stopping is None or current.queue is None or current.deadline is not None:
            return
        await self.client.delete(JOB_SETS, key.namespace, current.name, current.uid, "Foreground")

    async def keep_ledger(self, key: Key, status: JobStatus) -> None:
        """Notes on the newest JobSet what must not be counted, posted or measured again should the status be wiped.

        Raises:
            ApiError: the API server does not do it.
        """
        objects = self.store.get(key)
        current = max(objects.attempt_job_sets, key=lambda view: view.attempt, default=None)
        news = news_to_keep(objects, status) if current is not None and current.deadline is None else None
        if current is None or news is None:
            return
        kept = {name: value for name, value in written(news).items() if name in ("attempts", "budgets", "conditions")}
        patch = {"metadata": {"uid": current.uid, "annotations": {names.LEDGER: json.dumps(kept)}}}
        await self._patch_job_set(key, current, patch)

    async def expire(self, key: Key, owner: Owner) -> None:
        """Deletes the job."""
        await self.client.delete(JOBS, key.namespace, key.name, owner.uid)

    async def ensure_network_policy(self, key: Key, owner: Owner) -> None:
        """Creates the job's NetworkPolicy where there is none."""
        objects = self.store.get(key)
        is_missing = objects.job is not None and not objects.own(objects.network_policies.values())
        if self.settings.network_policies and is_missing:
            await self.create(owner, NETWORK_POLICIES, network_policy(owner, self.settings))

    async def restore_config_map(self, key: Key, owner: Owner, resolved: Resolved, number: int, hosts: int) -> None:
        """Creates the ConfigMap of an attempt that runs, after somebody deleted it: pods yet to start need it."""
        attempt = NewAttempt(owner, number, resolved.at_hosts(hosts), self.settings)
        await self.create(owner, CONFIG_MAPS, config_map(attempt, self.ledger_json(key)))

    def ledger_json(self, key: Key) -> str:
        """Ledger and budgets as an attempt's ConfigMap keeps them."""
        status = written(stored_status(self.store.get(key)))
        return json.dumps(
            {name: status[name] for name in ("attemptCount", "attempts", "budgets", "timeBefore") if name in status}
        )

    async def _patch_job_set(self, key: Key, current: JobSetView, patch: Mapping[str, Any]) -> None:
        try:
            answer = await self.client.merge(JOB_SETS, key.namespace, current.name, patch)
        except (NotFound, Conflict):
            if await is_there(self.client, JOB_SETS, key.namespace, current.name, current.uid):
                raise
            # Gone, and perhaps created again: the watch reports it.
            self.store.drop(key, JOB_SETS, current)
            return
        self.store.put(JOB_SETS, answer)

    async def create_config_map(self, owner: Owner, wanted: Mapping[str, Any]) -> None:
        """Creates a ConfigMap, in place of one of the job's own with other data.

        Raises:
            NameTaken: there is another's object in the way.
            ApiError: the API server does not do it.
        """
        existing = await self.create(owner, CONFIG_MAPS, wanted)
        if existing.get("data") == wanted["data"]:
            return
        # Left by an operator that ended before it created the JobSet, and the job was changed since. Immutable.
        metadata = existing["metadata"]
        await self.client.delete(CONFIG_MAPS, metadata["namespace"], metadata["name"], metadata["uid"])
        self.store.remove(CONFIG_MAPS, existing)
        await self.create(owner, CONFIG_MAPS, wanted)

    async def create(self, owner: Owner, resource: Resource, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Creates an object, or takes note of the job's own one of this name.

        Raises:
            NameTaken: there is another's object in the way.
            ApiError: the API server does not do it.
        """
        try:
            stored = await self.client.create(resource, wanted)
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
            name = wanted["metadata"]["name"]
            stored = await self.client.get(resource, owner.namespace, name)
            if not owner.owns(stored):
                raise NameTaken(
                    f"{resource.plural} {owner.namespace}/{name} exists and does not belong to the job "
                    f"{owner.name}: expected no such object"
                ) from error
        self.store.put(resource, stored)
        return stored
