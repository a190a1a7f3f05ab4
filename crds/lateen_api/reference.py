"""docs/reference.md, generated from the models: `lateen crd --reference > docs/reference.md`."""

from collections.abc import Iterable, Sequence

from lateen_api.accelerators import ACCELERATORS, GIB, Accelerator
from lateen_api.discriminated import DISCRIMINATOR, VARIANTS
from lateen_api.schema import Schema, job_schema, structural_schema
from lateen_api.spec import API_VERSION, KIND, PLURAL, SHORT_NAME
from lateen_api.status import CONDITION_MEANING, JobStatus
from lateen_api.wording import expected, listing, show

_INTRODUCTION = f"""# Reference of {KIND}

Generated from `lateen_api` by `make crd`: change the models, not this file.

`apiVersion: {API_VERSION}`, `kind: {KIND}`; `kubectl` knows it as `{PLURAL}` and `{SHORT_NAME}`. A field without a
default may be left out unless it is marked as required. Durations are written as `90s`, `15m` or `1h30m`. Learning
rates and other numbers may be written as `6e-4`, `6.0e-4` or `0.0006`.

"""


def reference_page() -> str:
    """The page as Markdown."""
    spec = job_schema()["properties"]["spec"]
    parts = [
        _INTRODUCTION,
        *_section(spec, "spec"),
        _accelerators(),
        *_section(structural_schema(JobStatus), "status"),
        _conditions(),
    ]
    return "".join(parts).rstrip("\n") + "\n"


def _section(schema: Schema, path: str) -> Iterable[str]:
    """A table of a section's fields, then those of the sections in it."""
    yield f"## {path}\n\n{schema.get('description', '')}\n\n"
    if VARIANTS in schema:
        yield from _variants(schema[VARIANTS], path)
        return
    yield _fields(schema)
    for inner_path, nested in _inner_sections(schema, path):
        yield from _section(nested, inner_path)


def _variants(variants: dict[str, Schema], path: str) -> Iterable[str]:
    """A table for each type of a discriminated section, then those of the sections in them; equal ones once."""
    yield f"`{DISCRIMINATOR}` says which fields there are: {listing([f'`{name}`' for name in variants])}.\n\n"
    inner: dict[str, dict[str, Schema]] = {}
    for name, schema in variants.items():
        yield f"### {path} with {DISCRIMINATOR}: {name}\n\n{schema.get('description', '')}\n\n"
        yield _fields(schema)
        for inner_path, nested in _inner_sections(schema, path):
            inner.setdefault(inner_path, {})[name] = nested
    for inner_path, by_type in inner.items():
        for first, nested in by_type.items():
            same = [name for name, other in by_type.items() if other == nested]
            if same[0] == first:
                yield from _section(nested, f"{inner_path} with {DISCRIMINATOR}: {listing(same)}")


def _fields(schema: Schema) -> str:
    """The table of a section's fields."""
    rows = [
        (f"`{name}`", _type(field), _default(schema, name, field), field.get("description", ""))
        for name, field in sorted(schema["properties"].items(), key=lambda item: item[0] != DISCRIMINATOR)
    ]
    return _table(("Field", "Type", "Default", "Meaning"), rows)


def _inner_sections(schema: Schema, path: str) -> Iterable[tuple[str, Schema]]:
    for name, field in schema["properties"].items():
        nested = _nested(field)
        if nested is not None:
            yield f"{path}.{name}{_index(field)}", nested


def _nested(field: Schema) -> Schema | None:
    """The section that a field holds, alone, in a list or in a mapping."""
    for candidate in (field, field.get("items", {}), field.get("additionalProperties", {})):
        if "properties" in candidate:
            return candidate
    return None


def _index(field: Schema) -> str:
    return "[]" if "items" in field else ".NAME" if "additionalProperties" in field else ""


def _type(field: Schema) -> str:
    return "a section" if "properties" in field else expected(field)


def _default(schema: Schema, name: str, field: Schema) -> str:
    if name in schema.get("required", []):
        return "required"
    return f"`{show(field['default']).strip(chr(39))}`" if field.get("default", "") != "" else ""


def _accelerators() -> str:
    def shape(accelerator: Accelerator) -> str:
        match accelerator.kind:
            case "tpu":
                listed = ", ".join(f"`{topology}`" for topology in accelerator.slices or {})
                cubes = f", and whole cubes (`4x4x4`) up to {accelerator.most_cubes}"
                return f"topologies {listed}{cubes if accelerator.most_cubes else ''}"
            case "gpu":
                return f"{', '.join(map(str, accelerator.gpus_per_host))} GPUs a host"
            case "cpu":
                return "any number of hosts"

    rows = [
        (
            f"`{one.name}`",
            f"{one.device_memory // GIB} GiB" if one.device_memory else "that of the host",
            f"{one.peak_flops / 1e12:,.0f} TFLOP/s" if one.peak_flops else "",
            shape(one),
        )
        for one in ACCELERATORS
    ]
    return "## Accelerators\n\nMemory and peak (dense bfloat16) are those of one JAX device.\n\n" + _table(
        ("`spec.compute.accelerator`", "Memory", "Peak", "Shapes"), rows
    )


def _conditions() -> str:
    rows = [(f"`{kind}`", meaning) for kind, meaning in CONDITION_MEANING.items()]
    return "## Conditions\n\n" + _table(("Type", "True means"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    # A bar would end the cell.
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines) + "\n"
