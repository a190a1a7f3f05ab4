"""Jobs as the API server stores them, and attempts of them."""

import copy
from typing import Any

from lateen_api.load import apply_overrides
from lateen_operator.manifests.attempt import NewAttempt
from lateen_operator.manifests.owner import Owner
from lateen_operator.resolve import resolve
from lateen_operator.settings import OperatorSettings

SETTINGS = OperatorSettings(trainer_image="lateen-trainer:1-{platform}")

_METADATA = {"namespace": "research", "uid": "4b1f4b3e-0000-4000-8000-000000000001", "generation": 1}

NANO: dict[str, Any] = {
    "apiVersion": "lateen.dev/v1alpha1",
    "kind": "LMTrainingJob",
    "metadata": {"name": "nano", **_METADATA, "resourceVersion": "17", "creationTimestamp": "2030-01-31T12:00:00Z"},
    "spec": {
        "model": {"hiddenDim": 128, "numHeads": 4, "numLayers": 4, "seqLen": 256},
        "data": {"trainUrls": ["python-stdlib://**/*.py"], "tokenizer": "bytes"},
        "trainer": {"trainBatchSize": 32, "numTrainSteps": 560},
        "checkpoint": {"path": "/shared/nano"},
        "compute": {
            "accelerator": "cpu",
            "hosts": 2,
            "minHosts": 1,
            "maxHosts": 4,
            "resizeAfter": "1m",
            "cpu": 2,
            "memory": "4Gi",
            "volumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
            "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        },
    },
}

SMALL: dict[str, Any] = {
    "apiVersion": "lateen.dev/v1alpha1",
    "kind": "LMTrainingJob",
    "metadata": {"name": "gpt2-small", **_METADATA},
    "spec": {
        "data": {"trainUrls": ["gs://corpus/train_{1..128}.jsonl.gz"], "tokenizer": "gpt2"},
        "trainer": {"numTrainSteps": 100000, "mp": "p=f32,c=bfloat16"},
        "checkpoint": {"path": "gs://runs/gpt2-small"},
    },
}

TPU = "compute={accelerator: tpu-v5p, topology: 2x2x4, slices: 2, minSlices: 1, maxSlices: 4, spot: true}"
GPU = "compute={accelerator: nvidia-h100-80gb, gpusPerHost: 8, hosts: 4, minHosts: 2, queue: research}"

A3_HIGH = "compute={accelerator: nvidia-h100-80gb, hosts: 2, network: auto}"
A3_MEGA = "compute={accelerator: nvidia-h100-mega-80gb, hosts: 2, network: gke-tcpxo}"
A3_ULTRA = "compute={accelerator: nvidia-h200-141gb, hosts: 2, network: auto}"
A4 = "compute={accelerator: nvidia-b200, hosts: 2, network: gke-rdma}"


def body(job: dict[str, Any], *overrides: str) -> dict[str, Any]:
    """The resource with some fields set otherwise."""
    return apply_overrides(copy.deepcopy(job), overrides)


def attempt(
    job: dict[str, Any],
    *overrides: str,
    hosts: int | None = None,
    number: int = 1,
    avoid: tuple[str, ...] = (),
    settings: OperatorSettings = SETTINGS,
) -> NewAttempt:
    """An attempt of the job with some fields set otherwise, at its own or another number of hosts."""
    resource = body(job, *overrides)
    resolved = resolve(resource)
    return NewAttempt(Owner.of(resource), number, resolved.at_hosts(hosts or resolved.plan.hosts), settings, avoid)
