"""Every job of the documentation is taken by a real API server, and is the same job by every way of applying it."""

import copy
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.cluster import Cluster
from documented import FILES, examples
from stored_jobs import NANO

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

WAYS = {
    "apply": [("apply",)],
    "apply --server-side": [("apply", "--server-side")],
    "create": [("create",)],
    "replace": [("create",), ("replace",)],
}
"""Calls of kubectl, each with `-f -`."""


def jobs() -> Iterator[Any]:
    """The documentation's jobs; where it shows a part of a spec, a job that has this part."""
    for path in FILES:
        for number, example in enumerate(examples(path)):
            if (job := _job(example)) is not None:
                yield pytest.param(job, id=f"{path.name}-{number}")


def _job(example: Any) -> dict[str, Any] | None:
    base = copy.deepcopy({key: NANO[key] for key in ("apiVersion", "kind", "spec")})
    if not isinstance(example, dict):
        return None
    if example.get("kind") == "LMTrainingJob":
        return example
    if "kind" in example or not example.keys() <= {*base["spec"], "optimizer", "recovery", "export", "tracking"}:
        return None
    for section, part in example.items():
        # A part that names its machines, or another kind of data, says all of them.
        rest = {} if {"accelerator", "id", "configs"} & part.keys() else base["spec"].get(section, {})
        base["spec"][section] = {**rest, **part}
    return base


@pytest.mark.parametrize("job", [*jobs()])
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
