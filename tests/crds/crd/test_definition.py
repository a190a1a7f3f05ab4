"""The generated CustomResourceDefinition."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from crds.jobs import nano, small
from lateen_api.accelerators import ACCELERATORS
from lateen_api.crd import crd, crd_yaml, resource_schema
from lateen_api.spec import LMTrainingJob

CHECKED_IN = Path(__file__).parents[3] / "crds" / "lmtrainingjobs.yaml"


def test_checked_in_file_is_what_the_models_give():
    assert CHECKED_IN.read_text() == crd_yaml(), "stale: run `make crd`"


def test_names():
    assert crd()["metadata"]["name"] == "lmtrainingjobs.lateen.dev"
    assert crd()["spec"]["names"] == {
        "kind": "LMTrainingJob",
        "listKind": "LMTrainingJobList",
        "plural": "lmtrainingjobs",
        "singular": "lmtrainingjob",
        "shortNames": ["lmtj"],
        "categories": ["all", "lateen"],
    }


def version() -> dict[str, Any]:
    (only,) = crd()["spec"]["versions"]
    return only


def test_status_is_a_subresource():
    assert version()["subresources"] == {"status": {}}


def test_columns_point_at_fields_that_exist():
    schema = resource_schema()
    for column in version()["additionalPrinterColumns"]:
        node = schema
        path = column["jsonPath"].removeprefix(".").split(".")
        if path[0] == "metadata":
            continue
        for part in path:
            node = node["properties"][part]
        assert node["type"] == column["type"], column["name"]


def test_columns_that_kubectl_shows():
    shown = [column["name"] for column in version()["additionalPrinterColumns"] if column["priority"] == 0]
    assert shown == ["State", "Step", "Loss", "Hosts", "Attempts", "ETA", "Age"]


def test_sections_left_out_get_their_defaults():
    """As a whole: the API server evaluates the rules of a section on its default as it is written."""
    spec = resource_schema()["properties"]["spec"]["properties"]
    defaults = {
        name: section["default"]
        for name, section in spec.items()
        if section.get("type") == "object" and "default" in section
    }
    assert sorted(defaults) == ["checkpoint", "compute", "export", "model", "optimizer", "recovery", "trainer"]
    assert defaults["checkpoint"] == {"saveInterval": "15m"}
    # What differs between families is theirs: it would be put into a Llama of which only the type is written.
    assert defaults["model"] == {
        "type": "gpt2", "initializerRange": 0.02, "gradientCheckpointing": True, "upcastAttn": False,
    }  # fmt: skip
    assert defaults["compute"] == {"accelerator": "cpu", "hosts": 1, "network": "none", "slices": 1, "spot": False}


def test_texts_of_a_certain_form_have_rules_with_messages_in_place_of_patterns():
    spec = resource_schema()["properties"]["spec"]["properties"]
    duration, amount = spec["checkpoint"]["properties"]["saveInterval"], spec["compute"]["properties"]["memory"]
    for field, word in ((duration, "duration"), (amount, "quantity")):
        (rule,) = field["x-kubernetes-validations"]
        assert rule["message"].startswith(f"must be a {word} such as")
        assert "pattern" not in field
        assert field["maxLength"] == 32


def test_accelerators_are_those_of_the_table():
    compute = resource_schema()["properties"]["spec"]["properties"]["compute"]
    assert compute["properties"]["accelerator"]["enum"] == [accelerator.name for accelerator in ACCELERATORS]


def test_learning_rate_is_a_number_whose_default_depends_on_the_optimizer():
    optimizer = resource_schema()["properties"]["spec"]["properties"]["optimizer"]
    assert optimizer["properties"]["learningRate"] == {
        "description": "Peak learning rate. `6e-4`, `6.0e-4` and `0.0006` mean the same. Default: 0.01 (adafactor); "
        "0.0006 (adamw, muon); 0.00012 (lion); 0.00048 (sophia-g, sophia-h).",
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
        "format": "double",
    }


def test_lists_of_the_status_that_are_maps_name_their_keys():
    status = resource_schema()["properties"]["status"]["properties"]
    assert status["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert "type" in status["conditions"]["items"]["required"]
    assert status["attempts"]["x-kubernetes-list-map-keys"] == ["number"]
    assert "number" in status["attempts"]["items"]["required"]


def accepts(resource: dict[str, Any]) -> bool:
    """Does the schema (rules apart) take the resource? OpenAPI's bounds are those of JSON Schema's draft 4."""
    return jsonschema.Draft4Validator(_with_null(resource_schema())).is_valid(resource)


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema has `type: [number, "null"]` for OpenAPI's `nullable`."""
    schema = {
        key: {name: _with_null(field) for name, field in value.items()} if key == "properties" else value
        for key, value in schema.items()
    }
    return schema | {"type": [schema["type"], "null"]} if schema.get("nullable") else schema


def plain(job: LMTrainingJob) -> dict[str, Any]:
    """As the API server has it: what is left out is not there, and nulls only where they mean something."""
    resource = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    resource["spec"]["optimizer"]["maxGradNorm"] = job.spec.optimizer.max_grad_norm
    return resource


@pytest.mark.parametrize(
    "job",
    [
        nano(),
        nano("optimizer.maxGradNorm=null", "suspend=true", "checkpoint.keep=[{every: 10, until: 100}]"),
        small("compute={accelerator: tpu-v5p, topology: 2x2x4, slices: 2, minSlices: 1, maxSlices: 4}"),
        small("compute={accelerator: nvidia-h100-80gb, gpusPerHost: 8, hosts: 4, minHosts: 2, spot: true}"),
        small("compute={cpu: 4, memory: 16Gi, tolerations: [{operator: Exists}], podTemplate: {spec: {a: [1]}}}"),
        small("data={configs: {web: {id: openwebtext}}, trainWeights: {web: 0.5}}", "tracking.wandb.project=p"),
        nano("model={type: mistral, numKvHeads: 4, rope: {type: yarn, factor: 4}}"),
        nano("model={type: qwen3, slidingWindow: 64, numLayers: 1, layerTypes: [sliding_attention]}"),
    ],
    ids=["nano", "null", "tpu", "gpu", "free maps", "mixture", "mistral", "qwen3"],
)
def test_schema_takes_jobs_that_the_models_take(job: LMTrainingJob):
    assert accepts(plain(job))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("trainer.trainBatchSize", 2.5),
        ("trainer.trainBatchSize", True),
        ("trainer.trainBatchSize", 0),
        ("trainer.seed", 2**31),
        ("optimizer.learningRate", "6e-4"),
        ("optimizer.learningRate", 0),
        ("optimizer.lrSchedule", "cosin"),
        ("optimizer.beta1", 1),
        ("checkpoint.keep", [{"until": 3}]),
        ("compute.accelerator", "h100"),
        ("model.type", "lama"),
        ("model.numKvHeads", 0),
        ("model.rope", {"theta": 1}),
        ("model.layerTypes", ["global"]),
        ("compute.env", {"A": 1}),
        ("compute.hosts", None),
        ("data.trainUrls", "corpus.txt"),
        ("data.tokenizer", ""),
        ("suspend", "true"),
    ],
)
def test_schema_refuses_what_the_models_refuse(path: str, value: Any):
    resource = plain(nano())
    *sections, field = path.split(".")
    section = resource["spec"]
    for name in sections:
        section = section[name]
    section[field] = value
    assert not accepts(resource)


def test_schema_refuses_a_job_without_data():
    resource = plain(nano())
    del resource["spec"]["data"]
    assert not accepts(resource)
