"""Some twenty faults of all kinds, one after another, on a job that trains on two real nodes.

`make chaos FAULTS=200 SEED=7` strikes more often. What happened when is printed where it fails, with the seed.
"""

import os
from pathlib import Path

import pytest
from cluster.cluster import Cluster
from e2e_cluster.chaos.campaign import STEPS, Campaign
from e2e_cluster.chaos.operator_faults import Operator
from e2e_cluster.harness.api import Api
from e2e_cluster.harness.fixtures import api, behind_proxy
from e2e_cluster.training import SLOT, Training
from lateen_operator.cluster.resources import JOBS

__all__ = ["api"]

ONLY = os.environ.get("LATEEN_CHAOS_ONLY")
"""Name of a fault: this one again and again, with nothing happening to the operator."""

FAULTS = int(os.environ.get("LATEEN_CHAOS_FAULTS") or 20)
SEED = int(os.environ.get("LATEEN_CHAOS_SEED") or 1)

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300 + 60 * FAULTS)]


def test_a_job_comes_through_whatever_happens_to_it_and_its_operator(
    cluster: Cluster, project_images: None, api: Api, namespace: str, tmp_path: Path
) -> None:
    """Slow: each fault costs the start of an attempt or the operator's way back.

    Its losses are those of an undisturbed run to the bit, each step trained once; the ledger names the cause of each
    end, and the process that was hit; budgets count each end once; nothing is left over.
    """
    folder = cluster.shared_folder(namespace)
    for node in cluster.nodes:
        cluster.set_capacity(node, SLOT, 1)

    def start_job(name: str) -> Training:
        return Training.apply(cluster, namespace, folder, name, steps=STEPS)

    with behind_proxy(api, tmp_path) as (proxy, start):
        operator = Operator(start, proxy, namespace, ("--trainer-image=localhost/lateen-trainer:dev",))
        undisturbed = start_job("undisturbed")
        undisturbed.finish()
        api.delete(JOBS, namespace, undisturbed.name)
        campaign = Campaign(operator, api, start_job, undisturbed.losses(), SEED, only=ONLY)
        try:
            campaign.run(FAULTS)
            assert "Traceback" not in (tmp_path / "operator.log").read_text()
        except Exception as error:
            log = "\n".join(campaign.log)
            raise AssertionError(f"seed {SEED}, fault {campaign.struck.total()}: {error}\n{log}") from error
        print(f"seed {SEED}: {campaign.struck.total()} faults, {dict(campaign.struck)}")
