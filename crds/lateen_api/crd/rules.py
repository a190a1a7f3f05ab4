"""What the API server checks beyond the types: rules in CEL, each with a message that says what to do.

Only what needs no arithmetic over several sections stands here; the plan checks the rest and more, and its refusal
is the condition Accepted. Rules over lists and maps need bounds on these (`maxItems`, `maxLength` in the spec), or the
API server finds them too expensive. https://kubernetes.io/docs/reference/using-api/cel/
"""

from lateen_api.crd.discriminated import or_default, variant_rules
from lateen_api.crd.rule import Rule
from lateen_api.hugging_face.families import FREE
from lateen_api.quantities import QUANTITY_PATTERN
from lateen_api.schema import job_schema, schema_at
from lateen_api.spec.job import LONGEST_NAME, NAME_PATTERN
from lateen_api.spec.section import DURATION_PATTERN, OBJECT_NAME_PATTERN
from lateen_api.wording import camel_case

FORMATS: dict[str, Rule] = {
    DURATION_PATTERN: Rule(
        f"self.matches(r'{DURATION_PATTERN}')",
        "must be a duration such as 90s, 15m or 1h30m. Give a number and its unit.",
    ),
    QUANTITY_PATTERN: Rule(
        f"type(self) == int || self.matches(r'{QUANTITY_PATTERN}')",
        "must be a quantity such as 500m, 4 or 16Gi. Give a number, and perhaps its unit.",
    ),
    OBJECT_NAME_PATTERN: Rule(
        f"self.matches(r'{OBJECT_NAME_PATTERN}')",
        "must be a name of lower-case letters, digits, '-' and '.', none of these two at an end. "
        "Use the object's own name.",
    ),
}
"""What stands in the CRD for a pattern, of which the API server would say no more than that it is not matched."""

LONGEST_FORMATTED = 32
"""Characters of a text that is matched: without a bound the API server finds the rule too expensive."""


_NO_ATTEMPT = "!has(self.status) || !has(self.status.attemptCount) || self.status.attemptCount == 0"


def _settled(field: str, reason: str, remedy: str, *, optional: bool = False) -> Rule:
    """A field that is settled with the first attempt. It stands on the whole object, since it looks at the status.

    The message cannot show the values: the API server finds a messageExpression over them too expensive.
    """
    is_same = f"self.{field} == oldSelf.{field}"
    if optional:
        is_same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {is_same})"
    message = f"cannot change once an attempt was made, since {reason}. Create a job of another name for {remedy}."
    return Rule(f"{is_same} || {_NO_ATTEMPT}", message, field_path=f".{field}")


def _settled_by_checkpoints(field: str, *, optional: bool = False) -> Rule:
    return _settled(field, "its checkpoints were made with the old value", "the new value", optional=optional)


def _at_most(field: str, other: str) -> list[Rule]:
    """field <= other, where one or both may be left out."""
    absent = [f"!has(self.{name})" for name in (field, other) if name not in ("hosts", "slices")]
    comparison = f"self.{field} <= self.{other}"
    return [Rule(" || ".join([*absent, comparison]), f"{field} must not be more than {other}. Change one of the two.")]


def _only_for(field: str, prefix: str, owners: str) -> Rule:
    return Rule(
        f"!has(self.{field}) || self.accelerator.startsWith('{prefix}')",
        f"{field} is for {owners} only. Remove it, or change accelerator.",
    )


def _model(field: str, model: str = "self") -> str:
    """A number of `spec.model`, or the default of its type."""
    schema = schema_at(job_schema(), ("spec", "model"))
    assert schema is not None
    return or_default(schema, field, model)


def _states_model(model: str) -> str:
    """Says `spec.model` more than its type and how to train? A field with a default is always there, and says nothing.

    The length of sequences says what the model is only for GPT-2, whose positions are weights.
    """
    schema = schema_at(job_schema(), ("spec", "model"))
    assert schema is not None
    free = {camel_case(name) for name in FREE} | {"seqLen"}
    fields = [name for name, field in schema["properties"].items() if name not in free and "default" not in field]
    has_positions = f"self.{model}.type == 'gpt2' && has(self.{model}.seqLen)"
    return " || ".join([*(f"has(self.{model}.{name})" for name in fields), f"({has_positions})"])


_WRITTEN: dict[tuple[str, ...], list[Rule]] = {
    (): [
        Rule(
            f"self.metadata.name.size() <= {LONGEST_NAME}",
            f"metadata.name must have at most {LONGEST_NAME} characters, since names of pods are built from it. "
            "Use a shorter name.",
        ),
        Rule(
            f"self.metadata.name.matches('{NAME_PATTERN}')",
            "metadata.name must be lower-case letters, digits and '-', a letter first and no '-' at the end. "
            "Use another name.",
        ),
        _settled_by_checkpoints("spec.model"),
        _settled_by_checkpoints("spec.optimizer.type"),
        _settled_by_checkpoints("spec.data.tokenizer"),
        _settled_by_checkpoints("spec.trainer.seed"),
        _settled_by_checkpoints("spec.trainer.trainBatchSize"),
        _settled_by_checkpoints("spec.trainer.lora", optional=True),
        Rule(
            "('vocab' in self.spec.trainer.tensorParallelAxes) == ('vocab' in oldSelf.spec.trainer.tensorParallelAxes) "
            f"|| {_NO_ATTEMPT}",
            "cannot gain or lose vocab once an attempt was made, since its checkpoints were made with the vocabulary "
            "padded or not. Create a job of another name for the other.",
            field_path=".spec.trainer.tensorParallelAxes",
        ),
        _settled("spec.checkpoint.path", "its checkpoints are there", "another path", optional=True),
    ],
    ("spec",): [
        Rule(
            f"!('heads' in self.trainer.tensorParallelAxes) || "
            f"{_model('numHeads', 'self.model')} % self.trainer.modelAxisSize == 0",
            "trainer.modelAxisSize must divide model.numHeads. Change one of the two, or take heads out of "
            "trainer.tensorParallelAxes.",
        ),
        Rule(
            "self.optimizer.warmup < 1.0 || self.optimizer.warmup <= double(self.trainer.numTrainSteps)",
            "optimizer.warmup must not be longer than trainer.numTrainSteps. Shorten it, or give it as a fraction.",
        ),
        Rule(
            f"!has(self.trainer.initializeFrom) || {_states_model('model')}",
            "model must be stated where trainer.initializeFrom is, since the API server and the operator read no "
            "config.json. Put there what `lateen plan JOB -o model` prints.",
        ),
    ],
    ("spec", "model"): [
        # Qwen3 has a headDim of its own; heads of any width go with any hiddenDim.
        Rule(
            f"has(self.headDim) || self.type == 'qwen3' || {_model('hiddenDim')} % {_model('numHeads')} == 0",
            "hiddenDim must be a multiple of numHeads. Change one of the two.",
        ),
    ],
    ("spec", "data"): [
        Rule(
            "[has(self.trainUrls) && self.trainUrls.size() > 0, has(self.id), has(self.configs) && "
            "self.configs.size() > 0].exists_one(given, given)",
            "must have exactly one of trainUrls, id and configs. Add one, or remove the others.",
        ),
        Rule(
            "has(self.id) || !(has(self.name) || has(self.revision) || has(self.validationSplit))",
            "name, revision and validationSplit are for data sets of the Hugging Face hub. Add id, or remove them.",
        ),
        Rule(
            "!has(self.validationSplit) || !has(self.validationUrls) || self.validationUrls.size() == 0",
            "validationSplit and validationUrls must not stand together. Remove one of the two.",
        ),
        Rule(
            "!has(self.trainWeights) || self.trainWeights.all(name, has(self.configs) && name in self.configs)",
            "trainWeights must name sources of configs. Correct the names.",
        ),
        Rule(
            "!has(self.trainWeights) || self.trainWeights.size() == 0 || "
            "self.trainWeights.all(name, self.trainWeights[name] >= 0.0) && "
            "self.trainWeights.exists(name, self.trainWeights[name] > 0.0)",
            "trainWeights must be 0 or more, and one of them more than 0. Correct them.",
        ),
        Rule(
            "!has(self.trainWeightStages) || self.trainWeightStages.all(stage, "
            "stage.weights.all(name, has(self.configs) && name in self.configs))",
            "trainWeightStages must name sources of configs. Correct the names.",
        ),
        Rule(
            "!has(self.trainWeightStages) || self.trainWeightStages.all(stage, "
            "stage.weights.all(name, stage.weights[name] >= 0.0) && "
            "stage.weights.exists(name, stage.weights[name] > 0.0))",
            "weights of trainWeightStages must be 0 or more, and one of each stage more than 0. Correct them.",
        ),
        Rule(
            "!has(self.trainWeightStages) || self.trainWeightStages.size() == 0 || self.trainWeightStages[0].step == 0",
            "trainWeightStages must begin with a stage at step 0. Add it.",
        ),
        Rule(
            "!has(self.configs) || self.configs.size() == 0 || "
            "[has(self.trainWeights) && self.trainWeights.size() > 0, "
            "has(self.trainWeightStages) && self.trainWeightStages.size() > 0].exists_one(given, given)",
            "configs must have one of trainWeights and trainWeightStages beside it. Add one, or remove the other.",
        ),
        Rule(
            "!has(self.configs) || self.configs.size() == 0 || !has(self.validationUrls) || "
            "self.validationUrls.size() == 0",
            "validationUrls must not stand beside configs. Move them into the sources.",
        ),
    ],
    ("spec", "trainer"): [
        Rule(
            "self.perDeviceParallelism != 0 && self.perDeviceEvalParallelism != 0",
            "perDeviceParallelism and perDeviceEvalParallelism must be -1 or at least 1. "
            "Use -1 to let the plan choose.",
        ),
        Rule(
            "self.perDeviceParallelism < 1 || self.trainBatchSize % self.perDeviceParallelism == 0",
            "perDeviceParallelism must divide trainBatchSize. Change one of the two.",
        ),
        Rule(
            "!has(self.lanes) || self.lanes in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]",
            "lanes must be a power of two. Use one, or leave the field out.",
        ),
        Rule(
            "!has(self.lanes) || self.trainBatchSize % self.lanes == 0",
            "lanes must divide trainBatchSize. Change one of the two.",
        ),
    ],
    ("spec", "export"): [
        Rule(
            "!has(self.every) || has(self.huggingFace)",
            "every needs huggingFace, the folder to export to. Add it, or remove every.",
        ),
    ],
    ("spec", "compute"): [
        Rule(
            "!self.accelerator.startsWith('tpu') || has(self.topology)",
            "topology is needed for TPUs: the chips of a slice. Add it, as 2x2x4.",
        ),
        _only_for("topology", "tpu", "TPUs"),
        _only_for("chipsPerHost", "tpu", "TPUs"),
        _only_for("minSlices", "tpu", "TPUs"),
        _only_for("maxSlices", "tpu", "TPUs"),
        _only_for("gpusPerHost", "nvidia", "GPUs"),
        _only_for("devicesPerHost", "cpu", "CPU hosts"),
        *_at_most("minHosts", "hosts"),
        *_at_most("hosts", "maxHosts"),
        *_at_most("minSlices", "slices"),
        *_at_most("slices", "maxSlices"),
    ],
}

_GENERATED = dict(variant_rules(job_schema()))

RULES: dict[tuple[str, ...], list[Rule]] = {
    path: [*_WRITTEN.get(path, []), *_GENERATED.get(path, [])] for path in {**_WRITTEN, **_GENERATED}
}
"""Rules by the path of the schema that they stand on."""
