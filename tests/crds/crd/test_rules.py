"""The rules in CEL, evaluated as the API server does: on resources with their defaults filled in.

Their types and costs are the API server's to judge; it does in the cluster tests.
"""

from typing import Any

import cel
import pytest
from crds.jobs import nano, small
from lateen_api.crd.rules import FORMATS, RULES
from lateen_api.hugging_face.initial_model import states_model
from lateen_api.quantities import QUANTITY_PATTERN
from lateen_api.spec import JobSpec, LMTrainingJob
from lateen_api.spec.section import DURATION_PATTERN, OBJECT_NAME_PATTERN


def broken_rules(new: LMTrainingJob, old: LMTrainingJob | None = None, attempts: int | None = None) -> list[str]:
    """`PATH: first words of the message` of all rules that are not true.

    Args:
        attempts: made so far, as the status says; None: there is no status.
    """
    return [
        f"{(rule.field_path or '.'.join(path)).removeprefix('.')}: {rule.message.partition('. ')[0]}"
        for path, rules in RULES.items()
        for rule in rules
        if ("oldSelf" not in rule.rule or old) and not _holds(rule.rule, path, new, old, attempts)
    ]


def _holds(
    rule: str, path: tuple[str, ...], new: LMTrainingJob, old: LMTrainingJob | None, attempts: int | None
) -> bool:
    status = {} if attempts is None else {"status": {"attemptCount": attempts}}
    scope = {"self": _at(_plain(new) | status, path)} | ({"oldSelf": _at(_plain(old), path)} if old else {})
    return cel.evaluate(rule, scope) is True


def _plain(job: LMTrainingJob) -> dict[str, Any]:
    return job.model_dump(mode="json", by_alias=True, exclude_none=True)


def _at(resource: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        resource = resource[part]
    return resource


@pytest.mark.parametrize(
    "job",
    [
        nano(),
        nano("optimizer.warmup=1000", "trainer.numTrainSteps=1000", "trainer.perDeviceParallelism=8"),
        nano("trainer.lanes=16", "trainer.modelAxisSize=4", "compute={hosts: 4, minHosts: 4, maxHosts: 4}"),
        small("compute={accelerator: tpu-v5e, topology: 2x4, chipsPerHost: 8, slices: 2, minSlices: 1, maxSlices: 2}"),
        small("compute={accelerator: nvidia-h100-80gb, gpusPerHost: 8, hosts: 4, minHosts: 2}"),
        small("data={configs: {web: {id: openwebtext}}, trainWeights: {web: 0.5}}"),
        small(
            "data={configs: {web: {id: a}, chat: {trainUrls: [c], format: chat}}, packing: documents, "
            "trainWeightStages: [{step: 0, weights: {web: 1}}, {step: 100, weights: {web: 0.5, chat: 0.5}}]}"
        ),
        small("data={id: openwebtext}"),
        nano("model={type: llama, numKvHeads: 8, attentionBias: true, rope: {type: linear, factor: 2}}"),
        nano("model={type: mistral}"),
        nano("model={type: qwen2, slidingWindow: 128, layerTypes: [sliding_attention]}"),
        nano("model={type: qwen3, hiddenDim: 100, numHeads: 16}"),
        nano("model={type: mpt, clipQkv: 6.0, qkLn: true, alibiBiasMax: 16}"),
        nano("model={type: backpack, numSenses: 32, attnPdrop: 0.1}"),
        nano("trainer.initializeFrom=gs://bucket/model", "model={type: gpt2, seqLen: 512}"),
        nano("trainer.initializeFrom=gs://bucket/model", "model={type: llama, tieWordEmbeddings: false}"),
        nano("export={huggingFace: gs://bucket/hf, every: 100}"),
    ],
    ids=[
        "nano",
        "limits",
        "lanes",
        "tpu",
        "gpu",
        "mixture",
        "stages of a mixture",
        "hub",
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "mpt",
        "backpack",
        "initial GPT-2",
        "initial Llama",
        "exports",
    ],
)
def test_right_jobs_break_no_rule(job: LMTrainingJob):
    assert broken_rules(job) == []


@pytest.mark.parametrize(
    ("overrides", "broken"),
    [
        (["model.numHeads=5"], "spec.model: hiddenDim must be a multiple of numHeads"),
        (
            ["model={type: llama, hiddenDim: 60, numHeads: 8}"],
            "spec.model: hiddenDim must be a multiple of numHeads",
        ),
        (["trainer.modelAxisSize=8"], "spec: trainer.modelAxisSize must divide model.numHeads"),
        (
            ["optimizer.warmup=2000", "trainer.numTrainSteps=1000"],
            "spec: optimizer.warmup must not be longer than trainer.numTrainSteps",
        ),
        (["export.every=100"], "spec.export: every needs huggingFace, the folder to export to"),
        (["data.trainUrls=[]"], "spec.data: must have exactly one of trainUrls, id and configs"),
        (["data.id=openwebtext"], "spec.data: must have exactly one of trainUrls, id and configs"),
        (["data.trainWeights={web: 1}"], "spec.data: trainWeights must name sources of configs"),
        (
            ["data={configs: {web: {id: a}, books: {id: b}}, trainWeights: {web: 1, books: -1}}"],
            "spec.data: trainWeights must be 0 or more, and one of them more than 0",
        ),
        (
            ["data={configs: {web: {id: a}}, trainWeights: {web: 0}}"],
            "spec.data: trainWeights must be 0 or more, and one of them more than 0",
        ),
        (
            ["data={configs: {web: {id: a}}, trainWeightStages: [{step: 1, weights: {web: 1}}]}"],
            "spec.data: trainWeightStages must begin with a stage at step 0",
        ),
        (
            ["data={configs: {web: {id: a}}, trainWeightStages: [{step: 0, weights: {web: 0}}]}"],
            "spec.data: weights of trainWeightStages must be 0 or more, and one of each stage more than 0",
        ),
        (
            ["data={configs: {web: {id: a}}, trainWeightStages: [{step: 0, weights: {wb: 1}}]}"],
            "spec.data: trainWeightStages must name sources of configs",
        ),
        (
            ["data={configs: {web: {id: a}}}"],
            "spec.data: configs must have one of trainWeights and trainWeightStages beside it",
        ),
        (
            ["data={configs: {web: {id: a}}, trainWeights: {web: 1}, validationUrls: [b]}"],
            "spec.data: validationUrls must not stand beside configs",
        ),
        (
            ["trainer.perDeviceParallelism=0"],
            "spec.trainer: perDeviceParallelism and perDeviceEvalParallelism must be -1 or at least 1",
        ),
        (["trainer.perDeviceParallelism=5"], "spec.trainer: perDeviceParallelism must divide trainBatchSize"),
        (["trainer.lanes=12", "trainer.trainBatchSize=24"], "spec.trainer: lanes must be a power of two"),
        (["trainer.lanes=64"], "spec.trainer: lanes must divide trainBatchSize"),
        (["compute.accelerator=tpu-v4"], "spec.compute: topology is needed for TPUs: the chips of a slice"),
        (["compute.topology=2x2"], "spec.compute: topology is for TPUs only"),
        (["compute.chipsPerHost=4"], "spec.compute: chipsPerHost is for TPUs only"),
        (["compute.gpusPerHost=4"], "spec.compute: gpusPerHost is for GPUs only"),
        (
            ["compute={accelerator: nvidia-l4, devicesPerHost: 4}"],
            "spec.compute: devicesPerHost is for CPU hosts only",
        ),
        (["compute.minHosts=2"], "spec.compute: minHosts must not be more than hosts"),
        (["compute={hosts: 3, maxHosts: 2}"], "spec.compute: hosts must not be more than maxHosts"),
        (
            ["compute={accelerator: tpu-v4, topology: 2x2x1, minSlices: 2}"],
            "spec.compute: minSlices must not be more than slices",
        ),
        (
            ["compute={accelerator: tpu-v4, topology: 2x2x1, slices: 2, maxSlices: 1}"],
            "spec.compute: slices must not be more than maxSlices",
        ),
    ],
)
def test_wrong_jobs_break_one_rule_each(overrides: list[str], broken: str):
    assert broken_rules(nano(*overrides)) == [broken]


@pytest.mark.parametrize(
    ("model", "broken"),
    [
        ({"type": "gpt2", "numKvHeads": 2}, "numKvHeads is for type llama, mistral, qwen2 or qwen3 only"),
        ({"type": "llama", "mlpScale": 4}, "mlpScale is for type backpack, gpt2 or mpt only"),
        ({"type": "llama", "slidingWindow": None}, "slidingWindow is for type mistral, qwen2 or qwen3 only"),
        ({"type": "mistral", "layerTypes": []}, "layerTypes is for type qwen2 or qwen3 only"),
        ({"type": "qwen2", "attentionBias": False}, "attentionBias is for type llama or qwen3 only"),
        ({"type": "gpt2", "numHeads": 5}, "hiddenDim must be a multiple of numHeads"),
        ({"type": "llama", "numHeads": 24}, "hiddenDim must be a multiple of numHeads"),
        ({"type": "qwen2", "hiddenDim": 128}, "hiddenDim must be a multiple of numHeads"),
        ({"type": "qwen2", "numHeads": 24, "headDim": 128}, None),
        ({"type": "qwen3", "numHeads": 24}, None),
        ({"type": "gpt2", "clipQkv": 6.0}, "clipQkv is for type mpt only"),
        ({"type": "gpt2", "numSenses": 16}, "numSenses is for type backpack only"),
        ({"type": "mpt", "numHeads": 24}, "hiddenDim must be a multiple of numHeads"),
    ],
    ids=str,
)
def test_models_as_they_are_stored_with_what_was_left_out(model: dict[str, Any], broken: str | None):
    """The API server has no defaults for numbers that differ from family to family, and the rules must know them."""
    found = [rule.message for rule in RULES["spec", "model"] if cel.evaluate(rule.rule, {"self": model}) is not True]
    assert [message.partition(". ")[0] for message in found] == ([broken] if broken else [])


def test_heads_of_a_model_that_says_nothing_of_them_are_its_familys():
    (rule, *_) = RULES["spec",]
    trainer = {"tensorParallelAxes": ["heads"], "modelAxisSize": 8}
    holds = {
        family: cel.evaluate(rule.rule, {"self": {"model": {"type": family}, "trainer": trainer}})
        for family in ("gpt2", "llama", "qwen2")
    }
    assert holds == {"gpt2": False, "llama": True, "qwen2": False}


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("a" * 37, ": metadata.name must have at most 36 characters, since names of pods are built from it"),
        (
            "nano.v2",
            ": metadata.name must be lower-case letters, digits and '-', a letter first and no '-' at the end",
        ),
    ],
)
def test_names_that_pods_cannot_be_called_by(name: str, broken: str):
    # The model would refuse them before the rule is asked.
    job = nano()
    metadata = job.metadata.model_copy(update={"name": name})
    assert broken_rules(job.model_copy(update={"metadata": metadata})) == [broken]


_OF_CHECKPOINTS = [
    ("model.numLayers=5", "spec.model"),
    ("data.tokenizer=gpt2", "spec.data.tokenizer"),
    ("trainer.seed=1", "spec.trainer.seed"),
    ("trainer.trainBatchSize=64", "spec.trainer.trainBatchSize"),
    ("trainer.lora={rank: 4}", "spec.trainer.lora"),
]


@pytest.mark.parametrize(("override", "path"), _OF_CHECKPOINTS)
def test_what_the_checkpoints_depend_on_cannot_change(override: str, path: str):
    assert broken_rules(nano(override), old=nano(), attempts=1) == [
        f"{path}: cannot change once an attempt was made, since its checkpoints were made with the old value"
    ]


@pytest.mark.parametrize("attempts", [None, 0, 1])
def test_whether_the_vocabulary_is_padded_cannot_change(attempts: int | None):
    whole, divided, alone = (
        nano(f"trainer.tensorParallelAxes=[{axes}]") for axes in ("mlp, heads", "mlp, heads, vocab", "vocab")
    )
    broken = (
        [
            "spec.trainer.tensorParallelAxes: cannot gain or lose vocab once an attempt was made, since its "
            "checkpoints were made with the vocabulary padded or not"
        ]
        if attempts
        else []
    )

    assert broken_rules(divided, old=whole, attempts=attempts) == broken
    assert broken_rules(whole, old=divided, attempts=attempts) == broken
    assert broken_rules(alone, old=divided, attempts=attempts) == []


@pytest.mark.parametrize("attempts", [None, 0])
@pytest.mark.parametrize("override", [*(override for override, _ in _OF_CHECKPOINTS), "checkpoint.path=b"])
def test_a_job_without_attempts_can_change_throughout(override: str, attempts: int | None):
    assert broken_rules(nano(override), old=nano(), attempts=attempts) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [(["checkpoint.path=a"], ["checkpoint.path=b"]), ([], ["checkpoint.path=b"]), (["checkpoint.path=a"], [])],
)
def test_path_of_checkpoints_cannot_change(old: list[str], new: list[str]):
    assert broken_rules(nano(*new), old=nano(*old), attempts=1) == [
        "spec.checkpoint.path: cannot change once an attempt was made, since its checkpoints are there"
    ]


@pytest.mark.parametrize(
    "override",
    [
        "suspend=true",
        "compute.hosts=2",
        "trainer.numTrainSteps=5",
        "optimizer.learningRate=1e-3",
        "recovery.maxFailures=9",
    ],
)
def test_the_rest_may_change(override: str):
    assert broken_rules(nano(override), old=nano(), attempts=1) == []


def test_every_rule_says_what_to_do():
    for rules in RULES.values():
        for rule in rules:
            what, _, remedy = rule.message.partition(". ")
            assert what
            assert remedy.endswith("."), rule.message


@pytest.mark.parametrize(
    ("pattern", "value", "holds"),
    [
        (DURATION_PATTERN, "1h30m", True),
        (DURATION_PATTERN, "15", False),
        (DURATION_PATTERN, "m", False),
        (QUANTITY_PATTERN, 4, True),
        (QUANTITY_PATTERN, "500m", True),
        (QUANTITY_PATTERN, "16Gi", True),
        (QUANTITY_PATTERN, "16 GB", False),
        (OBJECT_NAME_PATTERN, "team-a.research", True),
        (OBJECT_NAME_PATTERN, "Team A", False),
        (OBJECT_NAME_PATTERN, "team-", False),
    ],
)
def test_texts_of_a_certain_form(pattern: str, value: object, holds: bool):
    assert cel.evaluate(FORMATS[pattern].rule, {"self": value}) is holds


@pytest.mark.parametrize(
    ("model", "is_stated"),
    [
        ({"type": "llama"}, False),
        ({"type": "llama", "seqLen": 512, "upcastAttn": True}, False),
        ({"type": "gpt2", "attnPdrop": 0.1}, False),
        ({"type": "gpt2", "seqLen": 512}, True),
        ({"type": "llama", "tieWordEmbeddings": False}, True),
        ({"type": "mpt", "mlpScale": 4}, True),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_a_model_that_is_elsewhere_must_be_stated_too(model: dict[str, Any], is_stated: bool):
    """As `states_model` says of the job, with the defaults that the API server fills in."""
    *_, rule = RULES["spec",]
    filled = {"initializerRange": 0.02, "gradientCheckpointing": True, "upcastAttn": False, **model}

    assert cel.evaluate(rule.rule, {"self": {"model": filled, "trainer": {"initializeFrom": "gs://a/b"}}}) is is_stated
    assert cel.evaluate(rule.rule, {"self": {"model": filled, "trainer": {}}}) is True
    data = {"trainUrls": ["a.txt"]}
    assert states_model(JobSpec.model_validate({"data": data, "model": filled})) is is_stated
