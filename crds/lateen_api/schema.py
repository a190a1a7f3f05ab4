"""The models as structural OpenAPI v3 schemas, the dialect of Kubernetes.

pydantic writes JSON Schema with references and unions; the API server wants every field spelled out in place.
A field whose default is null becomes a field without default: the API server drops a null there, which means the
same, and rules need not tell null from absence. `nullable` stays where null says something else than the default.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from functools import cache

from pydantic import BaseModel

from lateen_api.discriminated import DISCRIMINATOR, Schema, merge_variants, variant_of
from lateen_api.spec import LMTrainingJob

_EXCLUSIVE = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_KEPT = ("pattern", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "format", "enum")


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of a model, fields in the order in which it declares them.

    Raises:
        TypeError: the model has a field that no structural schema can describe (a union of types, say).
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}), model.__name__)


@cache
def job_schema() -> Schema:
    """The schema of a whole job. Shared by all callers: read it, do not change it."""
    return structural_schema(LMTrainingJob)


def schema_at(schema: Schema, path: tuple[str | int, ...]) -> Schema | None:
    """The schema of the field at `path`; None: there is no such field.

    Args:
        path: names, list indices, keys of maps. Behind a discriminated section its type may stand, as it does in
            pydantic's errors: `("spec", "model", "llama", "numHeads")`. Without it all variants are looked at.
    """
    found: Schema | None = schema
    for part in path:
        if found is None:
            return None
        found = variant_of(found, part) or _step(found, part)
    return found


def without_types(schema: Schema, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The path as people write it, without the types of discriminated sections."""
    return tuple(part for i, part in enumerate(path) if variant_of(schema_at(schema, path[:i]) or {}, part) is None)


def _step(schema: Schema, part: str | int) -> Schema | None:
    if isinstance(part, int):
        return schema.get("items")
    return schema.get("properties", {}).get(part, schema.get("additionalProperties"))


def _convert(node: Schema, definitions: dict[str, Schema], where: str) -> Schema:
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    if "anyOf" in node:
        return _nullable(node, definitions, where)
    if node.get("discriminator", {}).get("propertyName") == DISCRIMINATOR:
        return _discriminated(node, definitions, where)
    if "allOf" in node or "oneOf" in node:
        raise TypeError(f"{where}: a structural schema has no unions")
    result: Schema = {}
    if "description" in node:
        result["description"] = " ".join(node["description"].split())
    if node.get("default") is not None:
        result["default"] = node["default"]
    if "const" in node:
        node = {**node, "enum": [node["const"]]}
    if "type" in node:
        result["type"] = node["type"]
    elif "x-kubernetes-int-or-string" not in node:
        return {**result, "x-kubernetes-preserve-unknown-fields": True}
    result |= {key: value for key, value in node.items() if key in _KEPT or key.startswith("x-kubernetes-")}
    result |= _bounds(node)
    match node.get("type"):
        case "object":
            result |= _object(node, definitions, where)
        case "array":
            result["items"] = _convert(node["items"], definitions, f"{where}[]")
        case "integer":
            result["format"] = "int64"
        case "number":
            result["format"] = "double"
    return result


def _nullable(node: Schema, definitions: dict[str, Schema], where: str) -> Schema:
    alternatives = [option for option in node["anyOf"] if option.get("type") != "null"]
    if len(alternatives) != 1:
        raise TypeError(f"{where}: a structural schema has no unions other than with null")
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    schema = _convert({**alternatives[0], **rest}, definitions, where)
    return schema if node.get("default") is None else schema | {"nullable": True}


def _discriminated(node: Schema, definitions: dict[str, Schema], where: str) -> Schema:
    variants = {
        tag: _convert({"$ref": reference}, definitions, f"{where}[{tag}]")
        for tag, reference in node["discriminator"]["mapping"].items()
    }
    own = {"description": " ".join(node["description"].split())} if "description" in node else {}
    return {**merge_variants(variants, where), **own}


def _bounds(node: Schema) -> Schema:
    """OpenAPI v3.0 marks a bound as exclusive by a boolean beside it."""
    bounds: Schema = {key: node[key] for key in ("minimum", "maximum") if key in node}
    for exclusive, inclusive in _EXCLUSIVE.items():
        if exclusive in node:
            bounds |= {inclusive: node[exclusive], exclusive: True}
    return bounds


def _object(node: Schema, definitions: dict[str, Schema], where: str) -> Schema:
    if "properties" in node:
        properties = {
            name: _convert(field, definitions, f"{where}.{name}") for name, field in node["properties"].items()
        }
        result: Schema = {"properties": properties}
        if "required" in node:
            result["required"] = node["required"]
        return result
    values = node.get("additionalProperties", True)
    if isinstance(values, dict) and values:
        return {"additionalProperties": _convert(values, definitions, f"{where}.*")}
    return {"x-kubernetes-preserve-unknown-fields": True}
