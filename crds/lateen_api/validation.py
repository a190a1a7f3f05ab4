"""Plain data → LMTrainingJob, every mistake with its field, value, what was expected and what to do."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lateen_api.discriminated import DISCRIMINATOR, owners, variant_of
from lateen_api.errors import JobError, raise_all
from lateen_api.masking import MASK, is_secret_name
from lateen_api.schema import Schema, job_schema, schema_at, without_types
from lateen_api.spec import API_VERSION, KIND, LMTrainingJob
from lateen_api.spec.job import NAME_PATTERN
from lateen_api.spec.section import DURATION_PATTERN
from lateen_api.wording import camel_case, closest, expected, listing, show

Path = tuple[str | int, ...]

_UNKNOWN = "extra_forbidden"
_MISSING = "missing"
_NO_VARIANT = "union_tag_invalid"
# Fields whose names are too common to be taken for those of another section.
_COMMON_NAMES = frozenset({"name", "type", "id", "path"})


def validate_job(data: Any, where: str) -> LMTrainingJob:
    """A job from the mapping that YAML or JSON gave. Types must be right as they stand, as for the API server:
    no truth values for numbers, no texts for numbers.

    Args:
        data: the resource: apiVersion, kind, metadata, spec.
        where: what the data is called in messages where no field can be named; a file name, usually.

    Raises:
        JobError: one mistake.
        JobErrors: several mistakes.
    """
    if not isinstance(data, dict):
        raise JobError(
            where, f"{show(data)} is not a job: expected a mapping with apiVersion, kind, metadata and spec."
        )
    _check_identity(data, where)
    try:
        return LMTrainingJob.model_validate(data, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise_all(_mistake(details) for details in error.errors(include_url=False, include_context=False))
        raise  # pydantic names at least one mistake


def _check_identity(data: dict[Any, Any], where: str) -> None:
    """Says first that this is no job at all, before its fields are picked at."""
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if field not in data:
            hint = f"Add the line `{field}: {wanted}`"
            if not data.keys() & {"metadata", "spec"}:
                hint += ", `metadata: {name: …}`, and put the sections below `spec:`"
            raise JobError(field, f"missing in {where}: expected {wanted}. {hint}.")
        if data[field] != wanted:
            raise JobError(field, f"{show(data[field])} in {where} is not lateen's: expected {wanted}.")


def _mistake(details: ErrorDetails) -> JobError:
    path: Path = tuple(details["loc"])
    if details["type"] == _UNKNOWN:
        return JobError(dotted(path), _unknown(path))
    if details["type"] == _NO_VARIANT:
        path, details["input"] = (*path, DISCRIMINATOR), details["input"][DISCRIMINATOR]
    if details["type"] == "invalid_key" or path[-1:] == ("[key]",):
        return JobError(
            dotted(path[:-2]) or "job", f"{show(details['input'])} is not a name: expected texts as keys. Quote it."
        )
    schema = schema_at(job_schema(), path) or {}
    if details["type"] == _MISSING:
        return JobError(dotted(path), f"missing: expected {expected(schema)}. {_advice_if_missing(path, schema)}")
    # "spec.compute.env.HF_TOKEN: 12345 is not valid" would show it.
    hidden = path[:3] == ("spec", "compute", "env") and is_secret_name(str(path[-1]))
    return JobError(dotted(path), _wrong_value(details["input"], path, schema, shown=MASK if hidden else None))


def dotted(path: Path) -> str:
    """`spec.checkpoint.keep[0].every`; the types of discriminated sections, which pydantic names, are left out."""
    text = ""
    for part in without_types(job_schema(), path):
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _wrong_value(value: Any, path: Path, schema: Schema, *, shown: str | None = None) -> str:
    advice = _advice_on_value(value, path, schema)
    return f"{shown or show(value)} is not valid: expected {expected(schema)}. {advice}".rstrip()


def _advice_on_value(value: Any, path: Path, schema: Schema) -> str:
    if schema.get("type") in ("integer", "number", "boolean") and _reads_as(value, schema["type"]):
        return "Write it without quotes."
    if schema.get("pattern") == DURATION_PATTERN and isinstance(value, int | float):
        return "Give it a unit."
    if schema.get("type") == "string" and isinstance(value, bool | int | float):
        return "Write it in quotes."
    if schema.get("type") == "array" and isinstance(value, str):
        return f"Write `{path[-1]}: [{json.dumps(value)}]`."
    if isinstance(value, str) and (meant := closest(value, schema.get("enum", []))):
        return f"Did you mean {meant}?"
    if isinstance(value, str) and schema.get("pattern") == NAME_PATTERN:
        return f"{show(_as_name(value))} would do."
    if schema.get("default") not in (None, {}, []):
        return f"The default is {show(schema['default']).strip(chr(39))}."
    if value is None and "default" not in schema and schema.get("type") == "object":
        return f"Remove the line {show(path[-1])}, or put fields below it."
    parent = schema_at(job_schema(), path[:-1]) or {}
    required = "properties" not in parent or path[-1] in parent.get("required", [])
    return "Correct it." if required else "Correct it, or leave it out."


def _reads_as(value: Any, kind: str) -> bool:
    """Is the text what the field takes, but for the quotes?"""
    if not isinstance(value, str):
        return False
    if kind == "boolean":
        return value in ("true", "false")
    try:
        number = float(value)
    except ValueError:
        return False
    return kind == "number" or number.is_integer()


def _as_name(text: str) -> str:
    """The name that comes nearest to a text that is none."""
    letters = "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).strip("-")
    return (letters if letters[:1].isalpha() else f"job-{letters}")[:36].strip("-")


def _advice_if_missing(path: Path, schema: Schema) -> str:
    example = {"metadata": "{name: my-job}", "name": "my-job", "data": '{trainUrls: ["corpus/*.jsonl"]}'}
    value = example.get(str(path[-1])) or {"integer": "1", "number": "1.0"}.get(schema.get("type", ""), "…")
    return f"Add `{path[-1]}: {value}`" + (f" below {dotted(path[:-1])}." if len(path) > 1 else ".")


def _unknown(path: Path) -> str:
    name, section = str(path[-1]), path[:-1]
    schema = schema_at(job_schema(), section) or {}
    here = list(schema.get("properties", {}))
    elsewhere = {field: place for place, field in _all_fields() if field not in _COMMON_NAMES}
    wanted = camel_case(name)
    if wanted in here:
        return f"unknown field. Did you mean '{wanted}'?"
    all_variants = schema_at(job_schema(), section[:-1]) or {}
    if variants := owners(all_variants, wanted) if schema is variant_of(all_variants, section[-1]) else []:
        return (
            f"the type {section[-1]} has no such field: '{wanted}' is for {listing(variants, 'and')}. Remove it, or "
            f"change {dotted(section)}.{DISCRIMINATOR}."
        )
    if wanted in elsewhere:
        return f"unknown field: '{wanted}' belongs to {elsewhere[wanted]}. Move it there."
    if meant := closest(wanted, here):
        return f"unknown field. Did you mean '{meant}'?"
    if meant := closest(wanted, elsewhere, cutoff=0.75):
        return f"unknown field. Did you mean {elsewhere[meant]}.{meant}?"
    return f"unknown field. {dotted(section) or 'A job'} takes {listing(here, 'and')}."


def _all_fields() -> Iterator[tuple[str, str]]:
    """(section, field) of all fields of a job, later sections first: of equal names the first section's counts."""

    def walk(schema: Schema, path: Path) -> Iterator[tuple[str, str]]:
        for name, field in schema.get("properties", {}).items():
            yield from walk(field, (*path, name))
            yield dotted(path), name

    yield from reversed([found for found in walk(job_schema(), ()) if found[0]])
