"""What a real API server makes of jobs: the wrong ones are refused at once, by schema or CEL, the right ones are taken.

What neither can see becomes the condition Accepted=False; the tests of a job's life are about that.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.cluster import Cluster
from cluster.failure import ClusterError
from lateen_api.load import apply_overrides
from stored_jobs import GPU, NANO, SMALL, TPU, body

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TESTS = Path(__file__).parents[1]
TABLE = yaml.safe_load(Path(__file__).with_name("wrong_manifests.yaml").read_text())
JOB = yaml.safe_load(TABLE["job"])
MANIFESTS = sorted((TESTS / "operator" / "manifests" / "golden").glob("*.yaml"))

RIGHT = {
    "the job that the wrong ones differ from": JOB,
    "cpu": body(NANO),
    "tpu": body(SMALL, TPU),
    "gpu": body(SMALL, GPU),
    "a name of 36 characters": apply_overrides(JOB, [f"metadata.name={'n' * 36}"]),
    "a learning rate in scientific notation": apply_overrides(JOB, ["optimizer.learningRate=6e-4"]),
    "a warm-up as long as the training": apply_overrides(JOB, ["optimizer.warmup=1000"]),
    "amounts with and without quotes": apply_overrides(JOB, ["compute.cpu=4", "compute.memory=16Gi"]),
    "a Llama": apply_overrides(JOB, ["model={type: llama, rope: {type: linear, factor: 2.0}}"]),
    "a Mistral without a window": apply_overrides(JOB, ["model={type: mistral, slidingWindow: null}"]),
    "an annotation of another program": apply_overrides(JOB, ["metadata.annotations={a: b}"]),
}


def sent(cluster: Cluster, namespace: str, verb: str, resource: dict[str, Any], *options: str) -> str:
    """What the API server answers; in a refusal the lines of several mistakes have no fixed order."""
    # Names of its own namespace and stamps of its own are the API server's to give.
    metadata = {key: resource["metadata"][key] for key in ("name", "annotations") if key in resource["metadata"]}
    text = json.dumps({**resource, "metadata": metadata})
    try:
        return cluster.kubectl(verb, "-n", namespace, "-f", "-", *options, input=text)
    except ClusterError as error:
        _, _, message = str(error).partition(" ended with 1: ")
        return in_order(message)


def in_order(message: str) -> str:
    first, *others = (line.rstrip() for line in message.strip().splitlines())
    return "\n".join([first, *sorted(others)])


@pytest.mark.parametrize("case", TABLE["wrong"], ids=lambda case: case["what"])
def test_wrong_job_is_refused_with_this_message(cluster: Cluster, place: str, case: dict[str, Any]):
    wrong = apply_overrides(JOB, case["set"])
    assert sent(cluster, place, "create", wrong) == in_order(case["message"])
    assert cluster.kubectl.get("lmtj", "-n", place)["items"] == []


@pytest.mark.parametrize("case", TABLE["frozen"], ids=lambda case: case["what"])
def test_what_checkpoints_depend_on_cannot_change_after_an_attempt(cluster: Cluster, place: str, case: dict[str, Any]):
    changed = apply_overrides(JOB, case["set"])
    assert sent(cluster, place, "create", JOB) == "lmtrainingjob.lateen.dev/nano created\n"
    try:
        answer = sent(cluster, place, "replace", changed, "--dry-run=server")
        assert answer == "lmtrainingjob.lateen.dev/nano replaced (server dry run)\n"
        status = '{"status": {"attemptCount": 1}}'
        cluster.kubectl("patch", "lmtj", "nano", "-n", place, "--subresource=status", "--type=merge", "-p", status)
        assert sent(cluster, place, "replace", changed) == in_order(case["message"])
    finally:
        cluster.kubectl("delete", "lmtj", "--all", "-n", place)


@pytest.mark.parametrize("job", RIGHT.values(), ids=RIGHT)
def test_right_job_is_taken(cluster: Cluster, place: str, job: dict[str, Any]):
    name = job["metadata"]["name"]
    answer = sent(cluster, place, "create", job, "--dry-run=server")
    assert answer == f"lmtrainingjob.lateen.dev/{name} created (server dry run)\n"


def test_defaults_of_sections_that_are_left_out_are_filled_in(cluster: Cluster, place: str):
    stored = json.loads(sent(cluster, place, "create", JOB, "--dry-run=server", "-o", "json"))["spec"]
    assert (stored["optimizer"]["type"], stored["optimizer"]["warmup"]) == ("adamw", 0.01)
    assert (stored["compute"]["accelerator"], stored["compute"]["hosts"]) == ("cpu", 1)
    assert (stored["recovery"]["maxPreemptions"], stored["trainer"]["seed"], stored["suspend"]) == (1000, 0, False)


def test_no_familys_defaults_are_filled_into_another(cluster: Cluster, place: str):
    job = apply_overrides(JOB, ["model={type: llama}"])
    stored = json.loads(sent(cluster, place, "create", job, "--dry-run=server", "-o", "json"))["spec"]["model"]
    assert stored == {"type": "llama", "initializerRange": 0.02, "gradientCheckpointing": True, "upcastAttn": False}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_what_the_operator_creates_is_taken(cluster: Cluster, place: str, manifest: Path):
    """By JobSet's schema and webhooks, and by the API server's own validation."""
    created = yaml.safe_load(manifest.read_text())
    created["metadata"]["namespace"] = place
    answer = cluster.kubectl("create", "--dry-run=server", "-f", "-", input=yaml.safe_dump(created))
    assert answer.endswith(f"/{created['metadata']['name']} created (server dry run)\n")
