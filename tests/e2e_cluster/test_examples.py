"""Every job of the documentation is taken by a real API server, and is the same job by every way of applying it."""

import json
import secrets
from typing import Any

import pytest
from cluster.cluster import Cluster
from documented import jobs

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

WAYS = {
    "apply": [("apply",)],
    "apply --server-side": [("apply", "--server-side")],
    "create": [("create",)],
    "replace": [("create",), ("replace",)],
}
"""Calls of kubectl, each with `-f -`."""


@pytest.mark.parametrize("job", [pytest.param(job, id=name) for name, job in jobs()])
def test_an_example_is_the_same_job_by_every_way_of_applying_it(cluster: Cluster, place: str, job: dict[str, Any]):
    stored = {}
    for way, calls in WAYS.items():
        name = f"j-{secrets.token_hex(4)}"
        text = json.dumps({**job, "metadata": {"name": name}})
        for call in calls:
            cluster.kubectl(*call, "-n", place, "-f", "-", input=text)
        stored[way] = cluster.kubectl.get("lmtrainingjob", name, "-n", place)["spec"]
    first = stored["apply"]
    assert all(spec == first for spec in stored.values())
    assert json.loads(json.dumps(job["spec"])).keys() <= first.keys()
