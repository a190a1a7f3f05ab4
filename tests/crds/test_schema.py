"""Structural schemas from models."""

import json
from typing import Any

import pytest
from lateen_api.schema import job_schema, schema_at, structural_schema
from lateen_api.status import JobStatus
from pydantic import BaseModel, Field

_NOT_STRUCTURAL = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "not"}


def nodes(schema: dict[str, Any]):
    """All schemas in a schema."""
    yield schema
    inner = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for node in inner:
        if isinstance(node, dict):
            yield from nodes(node)


@pytest.mark.parametrize("schema", [job_schema(), structural_schema(JobStatus)], ids=["job", "status"])
def test_schema_is_structural(schema: dict[str, Any]):
    for node in nodes(schema):
        assert not node.keys() & _NOT_STRUCTURAL
        free = {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"} & node.keys()
        assert "type" in node or free, json.dumps(node)
        assert not ("properties" in node and "additionalProperties" in node)
        assert not (isinstance(node.get("exclusiveMinimum", True), float))


def test_every_field_of_the_spec_says_what_it_means():
    def undescribed(schema: dict[str, Any], path: str):
        for name, field in schema.get("properties", {}).items():
            if "description" not in field:
                yield f"{path}.{name}"
            for inner in (field, field.get("items", {}), field.get("additionalProperties", {})):
                yield from undescribed(inner, f"{path}.{name}")

    assert list(undescribed(job_schema()["properties"]["spec"], "spec")) == []


class Example(BaseModel):
    """Fields of all kinds."""

    above: float = Field(default=1.0, gt=0)
    optional: int | None = Field(default=None, ge=1)
    switched_off: float | None = 1.0
    free: dict[str, Any] = Field(default_factory=dict)
    weights: dict[str, float] = Field(default_factory=dict, max_length=3)


FIELDS = structural_schema(Example)["properties"]


def test_open_bound_is_a_boolean_beside_the_bound():
    assert FIELDS["above"] == {
        "default": 1.0,
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
        "format": "double",
    }


def test_field_whose_default_is_null_may_be_left_out():
    assert FIELDS["optional"] == {"type": "integer", "minimum": 1, "format": "int64"}


def test_field_whose_default_is_not_null_may_be_null():
    assert FIELDS["switched_off"] == {"default": 1.0, "type": "number", "format": "double", "nullable": True}


def test_mapping_of_anything_keeps_what_it_has():
    assert FIELDS["free"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_mapping_of_numbers_has_a_schema_for_them():
    assert FIELDS["weights"] == {
        "type": "object",
        "maxProperties": 3,
        "additionalProperties": {"type": "number", "format": "double"},
    }


def test_union_of_types_has_no_structural_schema():
    class Union(BaseModel):
        either: int | str

    with pytest.raises(TypeError, match=r"Union\.either: a structural schema has no unions other than with null"):
        structural_schema(Union)


def test_field_is_found_by_its_path():
    schema = schema_at(job_schema(), ("spec", "checkpoint", "keep", 3, "every"))
    assert schema is not None
    assert schema["type"] == "integer"


def test_path_through_a_mapping_leads_to_its_values():
    assert schema_at(job_schema(), ("spec", "data", "trainWeights", "web")) == {"type": "number", "format": "double"}


def test_path_to_nothing_leads_nowhere():
    assert schema_at(job_schema(), ("spec", "nothing", "at", "all")) is None
