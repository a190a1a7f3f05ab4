"""Writes what follows from charts/lateen/values.yaml, pyproject.toml and crds/: `make crd`.

values.yaml is the one place for a value's default, meaning and type. From it come values.schema.json, by which Helm
refuses wrong values, and the table in README.md. Chart.yaml gets the package's version. The CustomResourceDefinition is
copied: Helm cannot read outside of a chart, and says at every call that it follows a symbolic link.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "lateen"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
DEFINITION = Path(__file__).parents[1] / "crds" / "lmtrainingjobs.yaml"
_SCHEMA_LINE = "@schema "
_BEGIN, _END = "<!-- values: make crd -->\n", "<!-- end of values -->\n"
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_SCHEMA_OF_GLOBAL = {"type": "object", "description": "Values of a parent chart for all its sub-charts; unused."}


@dataclass(frozen=True)
class Value:
    """One key of values.yaml.

    Args:
        path: keys from the root, as ("image", "tag").
        comment: sentences above it.
        schema: JSON Schema beside what the default says.
        default: its value; None where `children` have their own.
        children: keys below it that have comments.
    """

    path: tuple[str, ...]
    comment: str
    schema: Mapping[str, Any]
    default: Any
    children: tuple["Value", ...] = ()

    @property
    def json_schema(self) -> dict[str, Any]:
        """How the value is checked."""
        if self.children:
            return {"type": "object", "description": self.comment, **_object(self.children)}
        type_of_default = {} if "enum" in self.schema else {"type": _TYPES[type(self.default)]}
        return {**type_of_default, "description": self.comment, **self.schema}


def read_values(text: str) -> tuple[Value, ...]:
    """The keys of a values.yaml. ValueError for one without a comment."""
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return tuple(_children(root, text.splitlines(), ()))


def schema(values: tuple[Value, ...]) -> dict[str, Any]:
    """The JSON Schema of all values."""
    shape = _object(values)
    shape["properties"]["global"] = _SCHEMA_OF_GLOBAL
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of lateen",
        "type": "object",
        **shape,
    }


def table(values: tuple[Value, ...]) -> str:
    """The values as a table in Markdown."""
    rows = ["| value | type | default | meaning |", "|---|---|---|---|"]
    for value in _leaves(values):
        kind = value.json_schema.get("type", "string")
        cells = (
            f"`{'.'.join(value.path)}`",
            kind if isinstance(kind, str) else " or ".join(kind),
            f"`{json.dumps(value.default)}`",
            value.comment + _choices(value.schema),
        )
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def generated() -> dict[Path, str]:
    """What each generated file should hold."""
    values = read_values((CHART / "values.yaml").read_text())
    version = tomllib.loads(PYPROJECT.read_text())["project"]["version"]
    chart = re.sub(r"^version: .*", f"version: {version}", (CHART / "Chart.yaml").read_text(), flags=re.MULTILINE)
    chart = re.sub(r"^appVersion: .*", f'appVersion: "{version}"', chart, flags=re.MULTILINE)
    readme = (CHART / "README.md").read_text()
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return {
        CHART / "Chart.yaml": chart,
        CHART / "README.md": f"{before}{_BEGIN}\n{table(values)}\n{_END}{after}",
        CHART / "files" / DEFINITION.name: DEFINITION.read_text(),
        CHART / "values.schema.json": json.dumps(schema(values), indent=2, ensure_ascii=False) + "\n",
    }


def _object(values: tuple[Value, ...]) -> dict[str, Any]:
    return {"additionalProperties": False, "properties": {value.path[-1]: value.json_schema for value in values}}


def _children(mapping: yaml.MappingNode, lines: list[str], path: tuple[str, ...]) -> Iterator[Value]:
    for key, node in mapping.value:
        own = (*path, key.value)
        comment, extra = _above(lines, key.start_mark.line)
        if not comment:
            raise ValueError(f"values.yaml: {'.'.join(own)} has no comment: expected a sentence above it")
        if isinstance(node, yaml.MappingNode) and any(_above(lines, k.start_mark.line)[0] for k, _ in node.value):
            yield Value(own, comment, extra, None, tuple(_children(node, lines, own)))
        else:
            yield Value(own, comment, extra, yaml.safe_load(yaml.serialize(node)))


def _above(lines: list[str], number: int) -> tuple[str, dict[str, Any]]:
    """Comment and schema in the lines just above the line `number`, from 0."""
    first = number
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    texts = [line.lstrip().removeprefix("#").strip() for line in lines[first:number]]
    extra = {}
    for text in texts:
        if text.startswith(_SCHEMA_LINE):
            extra |= json.loads(text.removeprefix(_SCHEMA_LINE))
    return " ".join(text for text in texts if not text.startswith(_SCHEMA_LINE)), extra


def _leaves(values: tuple[Value, ...]) -> Iterator[Value]:
    for value in values:
        if value.children:
            yield from _leaves(value.children)
        else:
            yield value


def _choices(schema: Mapping[str, Any]) -> str:
    return f" One of {', '.join(f'`{choice}`' for choice in schema['enum'])}." if "enum" in schema else ""


if __name__ == "__main__":
    for file, text in generated().items():
        file.write_text(text)
