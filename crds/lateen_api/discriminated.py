"""Discriminated sections: one of several Sections, chosen by its field `type`, as one structural schema.

A structural schema has no unions, so the API server gets the fields of all variants side by side, and rules that refuse
a field of another variant (lateen_api.crd.discriminated). A default stands in it only where all variants have the field
with this default: the API server would put it into every one of them. What is particular to each variant stays
beside it, under a key of its own, for messages and the reference page; the CRD is made without it.
"""

import json
from typing import Any

Schema = dict[str, Any]

DISCRIMINATOR = "type"
"""The field that chooses."""

VARIANTS = "x-lateen-variants"
"""Key of a merged schema: value of `type` → the schema of this variant. It is not for the API server."""


def merge_variants(variants: dict[str, Schema], where: str) -> Schema:
    """The fields of all variants in one schema.

    Args:
        variants: by the value of `type`.
        where: what the section is called in errors.

    Raises:
        TypeError: two variants have a field of one name that takes different values.
    """
    merged = _merge(variants, where)
    types = [field["properties"][DISCRIMINATOR] for field in variants.values()]
    chosen = [one["default"] for one in types if "default" in one]
    field = merged["properties"][DISCRIMINATOR]
    default = {"default": chosen[0]} if chosen else {}
    merged["properties"][DISCRIMINATOR] = {
        "description": field["description"], **default, "type": field["type"], "enum": list(variants),
    }  # fmt: skip
    return {**merged, VARIANTS: variants}


def variant_of(schema: Schema, tag: Any) -> Schema | None:
    """The schema of one variant; None: the section has no variants, or not this one."""
    return schema.get(VARIANTS, {}).get(tag) if isinstance(tag, str) else None


def owners(schema: Schema, field: str) -> list[str]:
    """The variants that have a field."""
    return [tag for tag, variant in schema.get(VARIANTS, {}).items() if field in variant["properties"]]


def without_variants(schema: Schema) -> Schema:
    """A copy for the API server."""
    copied = {}
    for key, value in schema.items():
        if key == VARIANTS:
            continue
        if key == "properties":
            copied[key] = {name: without_variants(field) for name, field in value.items()}
        else:
            copied[key] = without_variants(value) if key in ("items", "additionalProperties") else value
    return copied


def _merge(variants: dict[str, Schema], where: str) -> Schema:
    """Sections of the same name in several variants as one."""
    names = dict.fromkeys(name for variant in variants.values() for name in variant["properties"])
    # The discriminator first, wherever the models declare it.
    ordered = sorted(names, key=lambda name: name != DISCRIMINATOR)
    properties = {
        name: _merge_field(
            {tag: variant["properties"][name] for tag, variant in variants.items() if name in variant["properties"]},
            all_of=list(variants),
            where=f"{where}.{name}",
        )
        for name in ordered
    }
    required = [name for name in ordered if all(name in v.get("required", []) for v in variants.values())]
    common = {key: value for key, value in next(iter(variants.values())).items() if key in ("type", "description")}
    return {**common, "properties": properties, **({"required": required} if required else {})}


def _merge_field(fields: dict[str, Schema], all_of: list[str], where: str) -> Schema:
    first = next(iter(fields.values()))
    is_discriminator = where.endswith(f".{DISCRIMINATOR}") and "enum" in first and len(first["enum"]) == 1
    apart = {"default", "description", "nullable", *(["enum"] if is_discriminator else [])}
    if "properties" in first and len(fields) > 1:
        merged = _merge(fields, where)
    else:
        merged = {key: value for key, value in first.items() if key not in apart}
        for tag, field in fields.items():
            if {key: value for key, value in field.items() if key not in apart} != merged:
                raise TypeError(f"{where}: {tag} takes other values than {next(iter(fields))}")
    defaults = [field.get("default") for field in fields.values()]
    result: Schema = {"description": _description(fields, all_of, is_discriminator)}
    if len(fields) == len(all_of) and defaults[0] is not None and all(one == defaults[0] for one in defaults):
        result["default"] = defaults[0]
    result |= {key: value for key, value in merged.items() if key != "description"}
    return result | ({"nullable": True} if any("nullable" in field for field in fields.values()) else {})


def _description(fields: dict[str, Schema], all_of: list[str], is_discriminator: bool) -> str:
    """What the field means, which variants have it, and their defaults where these differ."""
    text = next(iter(fields.values())).get("description", "")
    if is_discriminator:
        return text
    if len(fields) < len(all_of):
        text += f" For {', '.join(fields)}."
    types_by_default: dict[str, list[str]] = {}
    for tag, field in fields.items():
        if "default" in field:
            types_by_default.setdefault(json.dumps(field["default"]), []).append(tag)
    if len(types_by_default) == 1 and len(fields) == len(all_of) == len(*types_by_default.values()):
        return text
    if len(types_by_default) == 1 and len(fields) == len(*types_by_default.values()):
        return f"{text} Default: {next(iter(types_by_default))}."
    defaults = [f"{value} ({', '.join(tags)})" for value, tags in types_by_default.items()]
    return f"{text} Default: {'; '.join(defaults)}." if defaults else text
