"""Sections that are chosen by their type: as a structural schema, in messages, with defaults of the API server."""

import copy
from typing import Annotated, Any, Literal

import pytest
from crds.jobs import NANO, nano
from lateen_api.crd import resource_schema
from lateen_api.crd.discriminated import or_default, variant_rules
from lateen_api.discriminated import VARIANTS, without_variants
from lateen_api.errors import JobError
from lateen_api.load import apply_overrides, parse_job
from lateen_api.schema import Schema, structural_schema
from lateen_api.spec import Gpt2Spec, LlamaSpec
from lateen_api.spec.section import Section, default_type
from lateen_api.validation import validate_job
from lateen_api.yaml_reader import read_documents
from pydantic import Field


class Inner(Section):
    """A section of circles."""

    same: int = 1
    """In all."""


class OwnInner(Inner):
    """A section of ovals."""

    other: int = 2
    """In one."""


class Circle(Section):
    """Round."""

    type: Literal["circle"] = "circle"
    """The shape."""

    size: int = Field(default=1, ge=1)
    """How large."""

    filled: bool = False
    """Is it?"""

    limit: int | None = None
    """At most."""


class Oval(Section):
    """Long."""

    type: Literal["oval"]
    """The shape."""

    size: int = Field(default=2, ge=1)
    """How large."""

    filled: bool = False
    """Is it?"""

    axis: str = "x"
    """Along which."""

    limit: int | None = 5
    """At most."""

    inner: OwnInner = Field(default_factory=OwnInner)
    """More."""


class Drawing(Section):
    """A shape."""

    shape: Annotated[Annotated[Circle | Oval, Field(discriminator="type")], default_type("circle")] = Field(
        default_factory=Circle
    )
    """What is drawn."""


SHAPE = structural_schema(Drawing)["properties"]["shape"]
FIELDS = SHAPE["properties"]


def test_fields_of_all_types_stand_side_by_side_the_type_first():
    assert list(FIELDS) == ["type", "size", "filled", "limit", "axis", "inner"]
    assert FIELDS["type"] == {
        "description": "The shape.", "default": "circle", "type": "string", "enum": ["circle", "oval"],
    }  # fmt: skip
    assert "required" not in SHAPE


def test_a_default_stands_only_where_all_types_have_the_field_with_it():
    assert FIELDS["filled"]["default"] is False
    assert [name for name, field in FIELDS.items() if "default" in field] == ["type", "filled"]


def test_descriptions_say_whose_a_field_is_and_what_its_defaults_are():
    assert FIELDS["size"]["description"] == "How large. Default: 1 (circle); 2 (oval)."
    assert FIELDS["axis"]["description"] == 'Along which. For oval. Default: "x".'
    assert FIELDS["filled"]["description"] == "Is it?"


def test_null_is_taken_where_one_type_takes_it_for_more_than_its_default():
    assert FIELDS["limit"]["nullable"]


def test_each_types_own_schema_stays_for_messages_and_not_for_the_api_server():
    assert SHAPE[VARIANTS]["oval"]["properties"]["size"]["default"] == 2
    assert VARIANTS not in without_variants({"properties": {"shape": SHAPE}})["properties"]["shape"]
    assert VARIANTS not in str(resource_schema())


def test_fields_of_one_name_that_take_different_values_are_refused():
    class Square(Section):
        """Angular."""

        type: Literal["square"]
        size: int = Field(default=1, ge=2)

    class Shapes(Section):
        """Shapes."""

        shape: Annotated[Circle | Square, Field(discriminator="type")]

    with pytest.raises(TypeError, match=r"Shapes\.shape\.size: square takes other values than circle"):
        structural_schema(Shapes)


def test_a_field_that_not_all_types_have_gets_a_rule():
    ((path, rules),) = variant_rules({"properties": {"shape": SHAPE}})
    assert path == ("shape",)
    assert [(rule.rule, rule.message) for rule in rules] == [
        ("!has(self.axis) || self.type in ['oval']", "axis is for type oval only. Remove it, or change type."),
        ("!has(self.inner) || self.type in ['oval']", "inner is for type oval only. Remove it, or change type."),
    ]


def test_a_number_that_is_left_out_is_its_types_default_in_rules():
    assert or_default(SHAPE, "size", "self") == "(has(self.size) ? self.size : {'circle': 1, 'oval': 2}[self.type])"


def test_a_type_that_is_left_out_is_the_default():
    assert isinstance(nano().spec.model, Gpt2Spec)
    model = nano("model={type: llama, hiddenDim: 64, numHeads: 4}").spec.model
    assert isinstance(model, LlamaSpec)
    assert (model.num_layers, model.hidden_dim) == (32, 64)


def message_of(*overrides: str) -> str:
    with pytest.raises(JobError) as caught:
        nano(*overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "{type: llama, mlpScale: 4}",
            "spec.model.mlpScale: the type llama has no such field: 'mlpScale' is for backpack, gpt2 and mpt. Remove "
            "it, or change spec.model.type.",
        ),
        (
            "{slidingWindow: 4096}",
            "spec.model.slidingWindow: the type gpt2 has no such field: 'slidingWindow' is for mistral, qwen2 and "
            "qwen3. Remove it, or change spec.model.type.",
        ),
        (
            "{type: mistral, mlp_bias: true}",
            "spec.model.mlp_bias: the type mistral has no such field: 'mlpBias' is for llama. Remove it, or change "
            "spec.model.type.",
        ),
        (
            "{type: mpt, clip_qvk: 6}",
            "spec.model.clip_qvk: unknown field. Did you mean 'clipQkv'?",
        ),
        ("{type: llama, numKVHeads: 4}", "spec.model.numKVHeads: unknown field. Did you mean 'numKvHeads'?"),
        (
            "{type: lama}",
            "spec.model.type: 'lama' is not valid: expected one of backpack, gpt2, llama, mistral, mpt, qwen2 or "
            "qwen3. Did you mean llama?",
        ),
        (
            "{type: 3}",
            "spec.model.type: 3 is not valid: expected one of backpack, gpt2, llama, mistral, mpt, qwen2 or qwen3. "
            "Write it in quotes.",
        ),
        (
            "{type: null}",
            "spec.model.type: null is not valid: expected one of backpack, gpt2, llama, mistral, mpt, qwen2 or qwen3. "
            "The default is gpt2.",
        ),
        (
            "{type: qwen3, numLayers: 0}",
            "spec.model.numLayers: 0 is not valid: expected a whole number of at least 1. The default is 36.",
        ),
        (
            "{type: qwen2, rope: {theta: 1}}",
            "spec.model.rope.theta: 1 is not valid: expected a number above 1. The default is 1000000.0.",
        ),
        (
            "{type: llama, rope: {tipe: linear}}",
            "spec.model.rope.tipe: unknown field. Did you mean 'type'?",
        ),
        (
            "llama",
            "spec.model: 'llama' is not valid: expected a section with fields such as type, seqLen and hiddenDim.",
        ),
    ],
)
def test_what_a_type_does_not_take_is_refused_by_name(model: str, message: str):
    assert message_of(f"model={model}").startswith(message)


FAMILIES: dict[str, dict[str, Any]] = {
    "none": {},
    "gpt2": {"type": "gpt2", "mlpScale": 3},
    "llama": {"type": "llama", "rope": {"factor": 2.0, "type": "linear"}},
    "mistral": {"type": "mistral", "slidingWindow": None},
    "qwen2": {"type": "qwen2", "rope": {}},
    "qwen3": {"type": "qwen3", "headDim": None},
    "mpt": {"type": "mpt", "clipQkv": None},
    "backpack": {"type": "backpack", "numSenses": 8},
}


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_defaults_of_the_api_server_change_no_family(model: dict[str, Any]):
    """As stored with them, the job is the one that was written."""
    (written,) = read_documents(NANO, "nano.yaml")
    written = apply_overrides(written, [f"model={model}".replace("None", "null")])
    stored = copy.deepcopy(written)
    fill_in_defaults(stored, resource_schema())

    assert validate_job(stored, "stored").spec == validate_job(written, "written").spec
    assert stored["spec"]["model"].keys() - written["spec"]["model"].keys() <= {
        "type", "initializerRange", "gradientCheckpointing", "upcastAttn",
    }  # fmt: skip


def test_a_model_that_is_left_out_gets_defaults_that_are_right():
    (written,) = read_documents(NANO, "nano.yaml")
    del written["spec"]["model"]
    stored = copy.deepcopy(written)
    fill_in_defaults(stored, resource_schema())
    assert validate_job(stored, "stored").spec.model == Gpt2Spec()


def fill_in_defaults(value: Any, schema: Schema) -> None:
    """As the API server does, in place."""
    if isinstance(value, dict):
        for name, field in schema.get("properties", {}).items():
            if name not in value and "default" in field:
                value[name] = copy.deepcopy(field["default"])
            if name in value:
                fill_in_defaults(value[name], field)


def test_jobs_with_numbers_of_other_types_are_told_apart_by_their_digest():
    """The digest leaves defaults out, so the type must not be one."""
    models = (parse_job(NANO, "a", [f"model={{type: {name}}}"]).spec.model for name in ("llama", "mistral"))
    dumped = [model.model_dump(by_alias=True, exclude_defaults=True) for model in models]
    assert dumped == [{"type": "llama"}, {"type": "mistral"}]
